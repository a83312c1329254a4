"""Whether a program's units are independent of one another, and of where in a batch they stand."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.call import Call
from pyro_vae.isolation import seed_all
from pyro_vae.layout import Layout
from pyro_vae.particles import is_per_particle, is_point_mass, score, with_values
from pyro_vae.traces import Site, latent_sites, run, sample_sites

PARTITIONS = 5  # of the units in two; up to 2**5 units every pair is in different halves once
AT_ONCE = 1024  # units that are looked at in all partitions at once


@dataclass(frozen=True)
class Run:
    """One run of guide and model; nothing is enumerated: what is to be so is drawn."""

    call: Call
    guide: poutine.Trace
    model: poutine.Trace
    num_chains: int = 1

    def scores(self) -> dict[str, Tensor]:
        """Log-densities of each chain and unit, (K, U), by part of the program; on the host."""
        parts = {"model": self.model, "guide": self.guide}
        return {
            part: score(sample_sites(trace).values(), self.call.layout, self.num_chains).cpu()
            for part, trace in parts.items()
        }


def drawn(call: Call, num_chains: int = 1) -> Run:
    """A run with latents of its own."""
    return _run(call, num_chains, poutine.Trace(), {})


def again(
    call: Call, first: Run, value: Callable[[Site], Tensor], num_chains: int = 1, seed: int = 0
) -> Run:
    """A run with latents made of those of another.

    What the guide puts at a point follows from its other sites, as it did. Noise that is no sample
    statement is the same for the same seed.
    """
    free = with_values(first.guide, value)
    for name in [n for n, site in latent_sites(free).items() if is_point_mass(site["fn"])]:
        free.remove_node(name)
    sites = {n: s for n, s in latent_sites(first.model).items() if n not in first.guide.nodes}
    seed_all(seed)
    return _run(call, num_chains, free, {n: {**s, "value": value(s)} for n, s in sites.items()})


def _run(call: Call, num_chains: int, given: poutine.Trace, sites: dict[str, Site]) -> Run:
    """:param sites: of the model alone."""
    guide = call.guide(num_chains, lambda guide: poutine.replay(guide, given))
    latents = guide.copy()
    latents.nodes.update(cast(Any, sites))
    model = poutine.replay(call.chains(call.program.model, num_chains), latents)
    return Run(call, guide, run("model", model, call.args, call.kwargs), num_chains)


def coupled(call: Call) -> bool:
    """Whether, in model or guide, a unit's density changes with the latents of others.

    Half of the units get other latents, and the other half is looked at; and the other way round, for
    several ways to cut the units in two.
    """
    units = call.layout.num_units
    if call.layout.unit is None or units < 2:
        return False
    seed_all(0)  # what is found must not hang on a seed, nor on the process
    numbers = torch.randperm(units)
    bits = [numbers >> bit & 1 == 1 for bit in range(min(PARTITIONS, (units - 1).bit_length()))]
    changed = torch.stack([side for half in bits for side in (half, ~half)])
    if call.together and units <= AT_ONCE and not _moves(call, changed):
        return False
    alone = replace(call, together=False)  # else noise might differ from particle to particle
    return any(_moves(alone, row) for row in changed.split(1))


def _moves(call: Call, changed: Tensor) -> bool:
    """Whether units score otherwise when those that are ``changed``, (V, U), get other latents."""
    nothing = changed.new_zeros(1, changed.shape[1])
    if call.together:
        pair = drawn(call, 2)
        masks = torch.cat([nothing, changed])
        mixed = again(
            call, pair, lambda site: _mixed(site, masks, call.layout), len(masks)
        ).scores()
        before, after = (
            {part: s[rows] for part, s in mixed.items()} for rows in (slice(1), slice(1, None))
        )
    else:
        first, other = drawn(call), drawn(call)
        before, after = (
            again(call, first, lambda site: _mixed_with(site, other, mask, call.layout)).scores()  # noqa: B023
            for mask in (nothing, changed)
        )
    return not all(
        _same(before[part].expand_as(changed)[~changed], after[part][~changed]) for part in before
    )


def check_data_are_apart(call: Call) -> None:
    """Refuses a model in which a datum's density depends on the other data of its batch.

    Of a batch, the second half is replaced by the first, and that one scored at the same latents.
    """
    half = call.layout.num_units // 2
    order = torch.cat([torch.arange(half), torch.arange(call.layout.num_units - half)])
    latents = drawn(replace(call, together=False)).model
    scores = []
    for args in (call.args, _rows(call, order)):
        seed_all(0)
        model = run("model", poutine.replay(call.program.model, latents), args, call.kwargs)
        scores.append(score(sample_sites(model).values(), call.layout, 1)[0, :half])
    before, after = scores
    if not _same(before, after):
        raise InputError(
            "the model's density of a datum depends on the other data of its batch (by up to "
            f"{float((before - after).abs().max()):.3g} nats, when these change), so there is no log p(x) "
            f"of a unit of plate {call.layout.unit!r}: leave statistics of the batch out of the model"
        )


def place_matters(call: Call) -> bool:
    """Whether the same rows, with the same latents, score otherwise in another order."""
    call = replace(call, together=False)
    seed_all(0)
    order = torch.randperm(call.layout.num_units)
    other = replace(call, args=_rows(call, order))
    first = drawn(call)

    def moved(before: Run) -> bool:
        after = again(other, first, lambda site: _taken(site, order, call.layout)).scores()
        return not all(_same(s[:, order], after[part], 10) for part, s in before.scores().items())

    if not moved(first):
        return False
    same, noisy = (again(call, first, lambda site: site["value"], seed=seed) for seed in (0, 1))
    scores, others = same.scores(), noisy.scores()
    return all(_same(scores[part], others[part]) for part in scores) and moved(same)


def check_every_value_is_drawn(found: Run) -> None:
    """Refuses a guide that draws one value of a latent where the model has several."""
    proposed = latent_sites(found.guide)
    for name, site in latent_sites(found.model).items():
        wanted = site["fn"].shape().numel()
        if name in proposed and site["value"].numel() < wanted:
            stack = [frame.name for frame in site["cond_indep_stack"] if frame.vectorized]
            plates = f"lie in the plate {', '.join(map(repr, stack))} and " if stack else ""
            raise InputError(
                f"the guide draws {site['value'].numel()} of the {wanted} numbers of the model's site "
                f"{name!r}, which would have to share them: in the guide, too, it must {plates}"
                f"be of shape {tuple(site['fn'].shape())}"
            )


def _rows(call: Call, order: Tensor) -> tuple[Tensor, ...]:
    return tuple(rows[order.to(rows.device)] for rows in call.args)


def _mixed(site: Site, changed: Tensor, layout: Layout) -> Tensor:
    """Of two particles' values of a site the first's, but the second's for the units of a mask, (V, U)."""
    value: Tensor = site["value"]
    if not is_per_particle(site, layout):
        return value
    return torch.where(_along(changed, site, layout), value[1:], value[:1])


def _mixed_with(site: Site, other: Run, changed: Tensor, layout: Layout) -> Tensor:
    """A site's value, but for some units, (1, U), that of another run."""
    value: Tensor = site["value"]
    sites = {**latent_sites(other.model), **latent_sites(other.guide)}
    there: Tensor = sites.get(site["name"], site)["value"]
    if there.shape != value.shape:  # of another size each time it is drawn
        return value
    return torch.where(_along(changed[0], site, layout), there, value)


def _along(mask: Tensor, site: Site, layout: Layout) -> Tensor:
    """A mask over units, (V, U) or (U), in the shape of a site's value."""
    behind = -layout.dim - 1 + site["fn"].event_dim
    between = site["value"].dim() - behind - mask.dim()
    mask = mask.to(site["value"].device)
    return mask.reshape(*mask.shape[:-1], *(1,) * between, mask.shape[-1], *(1,) * behind)


def _taken(site: Site, order: Tensor, layout: Layout) -> Tensor:
    """A site's value with its units in another order."""
    value: Tensor = site["value"]
    dim = value.dim() - site["fn"].event_dim + layout.dim
    return value.index_select(dim, order.to(value.device))


def _same(one: Tensor, other: Tensor, leeway: float = 1.0) -> bool:
    return torch.allclose(one, other, rtol=leeway * 1e-5, atol=leeway * 1e-4, equal_nan=True)
