"""Whether a program's units are independent of one another, and of where in a batch they stand."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from pyro import poutine
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.log_prob import unit_log_prob
from pyro_vae.program.particles import is_per_particle, score_model, with_values
from pyro_vae.program.probe import all_latents, moved_sites, moves, other_value
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    is_point_mass,
    latent_sites,
    proposal_sites,
    run,
    sample_sites,
    shape_of,
)

PARTITIONS = 5  # of the units in two; up to 2**5 units every pair is in different halves once
AT_ONCE = 1024  # units that are looked at in all partitions at once
OTHERS = 982_451_653  # a seed for other draws: no one else's, lest they be the same


@dataclass(frozen=True)
class Traces:
    """One run of guide and model; nothing is enumerated: what is to be so is drawn.

    Only a model that runs in no other way takes all values of its latents.
    """

    guide: poutine.Trace
    model: poutine.Trace
    num_chains: int = 1

    def latents(self) -> poutine.Trace:
        """Everything that was drawn, to replay."""
        return all_latents(self.guide, self.model)

    def scores(self, structure: Structure) -> dict[str, Tensor]:
        """The log-density of each site, (K, U), by its name in words; on the host.

        A guide's site that cannot score a value given to it, as a flow without an inverse, is left out.
        """
        scores: dict[str, Tensor] = {}
        for name, site in proposal_sites(self.guide).items():
            with suppress(InputError):
                scores[f"the guide's site {name!r}"] = unit_log_prob(site, structure)
        if structure.holds_enumerated_only:
            given, prior = score_model(self.model, structure, self.num_chains)
            scores["the model"] = given + prior
        else:
            for name, site in sample_sites(self.model).items():
                scores[f"the model's site {name!r}"] = unit_log_prob(site, structure)
        shape = self.num_chains, structure.num_units
        return {name: score.detach().expand(shape).cpu() for name, score in scores.items()}


def seen(call: BoundProgram) -> Traces:
    """The run that examined the program."""
    if call.examined is None:
        return drawn(call)
    return Traces(call.examined.guide, call.examined.model)


def drawn(call: BoundProgram, num_chains: int = 1) -> Traces:
    """A run with latents of its own."""
    return _run(call, num_chains, poutine.Trace(), {})


def again(
    call: BoundProgram,
    first: Traces,
    value: Callable[[Site], Tensor] = lambda site: site["value"],
    num_chains: int = 1,
    seed: int = OTHERS,
) -> Traces:
    """A run with latents made of those of another, by default the same.

    What the guide puts at a point follows from its other sites, as it did. Noise that is no sample
    statement is the same for the same seed.
    """
    free = with_values(first.guide, value)
    for name in [n for n, site in drawn_sites(free).items() if is_point_mass(site["fn"])]:
        free.remove_node(name)
    sites = {n: s for n, s in latent_sites(first.model).items() if n not in first.guide.nodes}
    subsamples: dict[str, Site] = {
        name: cast(Site, site)
        for name, site in first.model.nodes.items()
        if isinstance(site.get("fn"), _Subsample) and name not in first.guide.nodes
    }
    seed_all(seed)  # what is found must not hang on a seed, nor on the process
    own = {name: {**site, "value": value(site)} for name, site in sites.items()}
    return _run(call, num_chains, free, own | subsamples)


def _run(
    call: BoundProgram, num_chains: int, given: poutine.Trace, sites: dict[str, Site]
) -> Traces:
    """:param sites: of the model alone."""
    guide = call.guide(num_chains, lambda guide: poutine.replay(guide, given))
    if call.structure.holds_enumerated_only:
        return Traces(guide, call.joint(num_chains, guide), num_chains)
    latents = guide.copy()
    latents.nodes.update(cast(Any, sites))
    model = poutine.replay(call.chains(call.program.model, num_chains), latents)
    return Traces(guide, run("model", model, call.args, call.kwargs), num_chains)


def moved(before: Traces, after: Traces, structure: Structure, fine: bool = False) -> list[str]:
    """The sites of which a score has moved."""
    return _moved(before.scores(structure), after.scores(structure), fine)


def _moved(before: dict[str, Tensor], after: dict[str, Tensor], fine: bool = False) -> list[str]:
    """The same, of scores; a guide's site may be on one side only, as it scores what it has just drawn."""
    both = before.keys() & after.keys()
    one, two = (
        {name: score for name, score in scores.items() if name in both or "model" in name}
        for scores in (before, after)
    )
    return moved_sites(one, two, fine)


def noise(call: BoundProgram) -> str | None:
    """What scores the same latents otherwise the next time, in words; None where nothing does."""
    first = seen(call)
    before, after = (run.scores(call.structure) for run in (first, again(call, first)))
    for name in _moved(before, after):
        if name in before and name in after:
            return f"{name}, by up to {float((before[name] - after[name]).abs().max()):.3g} nats"
        return name
    return None


def coupled(call: BoundProgram) -> bool:
    """Whether, in model or guide, a unit's density changes with the latents of others.

    Half of the units get other latents, and the other half is looked at; and the other way round, for
    several ways to cut the units in two.
    """
    units = call.structure.num_units
    if call.structure.unit is None or units < 2:
        return False
    seed_all(0)
    numbers = torch.randperm(units)
    bits = [numbers >> bit & 1 == 1 for bit in range(min(PARTITIONS, (units - 1).bit_length()))]
    changed = torch.stack([side for half in bits for side in (half, ~half)])
    if call.vectorized and units <= AT_ONCE and not _moves_together(call, changed):
        return False
    # else noise might differ from particle to particle
    alone = replace(call, vectorized=False, pair=None)
    first = seen(alone)
    before = first.scores(call.structure)
    for i, row in enumerate(changed.split(1)):
        seed_all(OTHERS + i)
        if _moves_alone(alone, first, drawn(alone), before, row):
            return True
    return False


def meet(call: BoundProgram, first: Traces, fine: bool = False) -> bool:
    """Whether units score otherwise when half of them, at random, get other latents: a quick look."""
    structure = call.structure
    if structure.unit is None or structure.num_units < 2 or structure.size != structure.num_units:
        return False
    seed_all(1)
    changed = torch.randperm(structure.num_units) % 2 == 1

    def mixed(site: Site) -> Tensor:
        if site["name"] in structure.enumerated or is_point_mass(site["fn"]):
            return cast(Tensor, site["value"])
        return torch.where(_along(changed, site, structure), other_value(site), site["value"])

    before, after = (run.scores(structure) for run in (first, again(call, first, mixed)))
    return any(
        bool((moves(before[name], after[name], fine) & ~changed).any())
        for name in before.keys() & after.keys()
    )


def _moves_together(call: BoundProgram, changed: Tensor) -> bool:
    """Whether units score otherwise when those that are ``changed``, (V, U), get other latents."""
    if call.pair is None or call.structure.enumerated:
        pair = drawn(call, 2)
    else:
        pair = Traces(call.pair.guide, call.pair.model, 2)
    masks = torch.cat([changed.new_zeros(1, changed.shape[1]), changed])
    structure = call.structure
    mixed = again(call, pair, lambda site: _mixed(site, masks, structure), len(masks)).scores(
        structure
    )
    return any(bool((moves(score[:1], score[1:]) & ~changed).any()) for score in mixed.values())


def _moves_alone(
    call: BoundProgram, first: Traces, other: Traces, before: dict[str, Tensor], changed: Tensor
) -> bool:
    structure = call.structure
    after = again(call, first, lambda s: _mixed_with(s, other, changed, structure)).scores(
        structure
    )
    return any(
        bool((moves(before[name], after[name]) & ~changed).any())
        for name in before.keys() & after.keys()
    )


def check_data_are_apart(call: BoundProgram) -> bool:
    """Refuses a model in which a datum's density depends on the other data of its batch.

    Of a batch, the second half is replaced by the first, and that one scored at the same latents; False
    where the program does not take such data, as one that wants its rows in order.
    """
    half = call.structure.num_units // 2
    order = torch.cat([torch.arange(half), torch.arange(call.structure.num_units - half)])
    first = seen(call)
    other = replace(call, args=_rows(call, order), vectorized=False)
    try:
        if call.structure.holds_enumerated_only:
            model = other.joint(1, first.guide)
        else:
            replayed = poutine.replay(call.program.model, first.latents())
            model = run("model", replayed, other.args, call.kwargs)
    except InputError:
        return False
    before, after = (r.scores(call.structure) for r in (first, Traces(poutine.Trace(), model)))
    for name, score in after.items():
        there = before[name][0, :half]
        if bool(moves(there, score[0, :half]).any()):
            raise InputError(
                "the model's density of a datum depends on the other data of its batch (by up to "
                f"{float((there - score[0, :half]).abs().max()):.3g} nats at {name}, when these change), "
                f"so there is no log p(x) of a unit of plate {call.structure.unit!r}: leave statistics of "
                "the batch out of the model"
            )
    return True


def place_matters(call: BoundProgram, first: Traces | None = None, fine: bool = False) -> list[str]:
    """The sites that score otherwise where the same rows, with the same latents, are in another order.

    Where a unit is no row, a site's whole score is looked at, and its values go along with the rows where a
    plate of as many units holds it. Of a plate that takes a subsample, the rows of that one change places.
    A program that refuses the other order is named itself.

    :param first: a run of the call; by default one is made.
    :param fine: whether all is computed in float64.
    """
    call = replace(call, vectorized=False, pair=None)
    seed_all(0)
    first = first or drawn(call)
    structure = (
        call.structure if call.structure.size == len(call.args[0]) else call.structure.joined()
    )
    places = _subsample(first, len(call.args[0]))
    turn = torch.randperm(len(places))
    turn = turn.roll(1) if torch.equal(turn, torch.arange(len(turn))) else turn
    order = torch.arange(len(call.args[0]))
    order[places] = places[turn]
    other = replace(call, args=_rows(call, order))
    try:
        after = again(other, first, lambda site: _taken(site, turn, structure)).scores(structure)
    except InputError:
        return ["the program"]
    before = first.scores(structure)
    if structure.unit is not None:
        before = {name: score[:, turn] for name, score in before.items()}
        return _moved(before, after, fine)
    moved = _moved(before, after, fine)
    # the sites of a loop over rows change places among themselves
    both = before.keys() & after.keys()
    one, two = (
        sum((scores[name] for name in both), start=torch.zeros(())) for scores in (before, after)
    )
    return moved if bool(moves(one, two, fine).any()) else []


def _subsample(run: Traces, rows: int) -> Tensor:
    """The numbers of the rows that a plate over them takes."""
    for trace in (run.guide, run.model):
        for site in trace.nodes.values():
            fn = site.get("fn")
            if isinstance(fn, _Subsample) and fn.size == rows:
                indices = torch.as_tensor(site["value"]).cpu()
                if (
                    indices.dtype == torch.long and indices.dim() == 1
                ):  # some hand over the data here
                    return indices
    return torch.arange(rows)


def check_every_value_is_drawn(found: Traces) -> None:
    """Refuses a guide that draws one value of a latent where the model has several."""
    proposed = drawn_sites(found.guide)
    for name, site in latent_sites(found.model).items():
        wanted = shape_of(site["fn"]).numel()
        if name in proposed and site["value"].numel() < wanted:
            stack = [frame.name for frame in site["cond_indep_stack"] if frame.vectorized]
            plates = f"lie in the plate {', '.join(map(repr, stack))} and " if stack else ""
            raise InputError(
                f"the guide draws {site['value'].numel()} of the {wanted} numbers of the model's site "
                f"{name!r}, which would have to share them: in the guide, too, it must {plates}"
                f"be of shape {tuple(shape_of(site['fn']))}"
            )


def _rows(call: BoundProgram, order: Tensor) -> tuple[Tensor, ...]:
    return tuple(rows[order.to(rows.device)] for rows in call.args)


def _mixed(site: Site, changed: Tensor, structure: Structure) -> Tensor:
    """Of two particles' values of a site the first's, but the second's for the units of a mask, (V, U)."""
    value: Tensor = site["value"]
    if not is_per_particle(site, structure):
        return value
    return torch.where(_along(changed, site, structure), value[1:], value[:1])


def _mixed_with(site: Site, other: Traces, changed: Tensor, structure: Structure) -> Tensor:
    """A site's value, but for some units, (1, U), that of another run."""
    value: Tensor = site["value"]
    sites = {**latent_sites(other.model), **drawn_sites(other.guide)}
    there: Tensor = sites.get(site["name"], site)["value"]
    if there.shape != value.shape:  # of another size each time it is drawn
        return value
    return torch.where(_along(changed[0], site, structure), there, value)


def _along(mask: Tensor, site: Site, structure: Structure) -> Tensor:
    """A mask over units, (V, U) or (U), in the shape of a site's value."""
    behind = -structure.dim - 1 + site["fn"].event_dim
    between = site["value"].dim() - behind - mask.dim()
    mask = mask.to(site["value"].device)
    return mask.reshape(*mask.shape[:-1], *(1,) * between, mask.shape[-1], *(1,) * behind)


def _taken(site: Site, order: Tensor, structure: Structure) -> Tensor:
    """A site's value with its units, or what goes along with the rows, in another order."""
    value: Tensor = site["value"]
    rows = len(order)
    if structure.unit is not None:
        dims = [structure.dim]
    else:
        frames = [f for f in site["cond_indep_stack"] if f.vectorized]
        dims = [f.dim for f in frames if f.size == rows]
    for dim in dims:
        at = value.dim() - site["fn"].event_dim + dim
        if at >= 0 and value.shape[at] == rows:
            value = value.index_select(at, order.to(value.device))
    return value
