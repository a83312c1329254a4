"""Many draws of the latents at once, and what each says of each unit's log-probabilities."""

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from pyro.ops.contract import contract_to_tensor
from pyro.ops.rings import LogRing
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.contract import Program
from pyro_vae.program.examination import Examination, check_match
from pyro_vae.program.log_prob import score
from pyro_vae.program.probe import moves
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import Site, drawn_sites, proposal_sites, run, sample_sites
from pyro_vae.program.wrappers import unmask


@dataclass(frozen=True)
class Particles:
    """K draws from the guide for each of U units; log-probabilities in nats, each (K, U).

    They are the program's own: neither ``poutine.scale`` nor subsampling's factors enter.
    ``latents`` holds the draws themselves, each (K | batch | event).
    """

    log_likelihood: Tensor
    log_prior: Tensor
    log_guide: Tensor
    latents: dict[str, Tensor]

    @property
    def log_weights(self) -> Tensor:
        """log p(x, z) - log q(z | x), shape (K, U); minus infinity where the prior has nothing."""
        log_weights = self.log_likelihood + self.log_prior - self.log_guide
        return torch.where(self.log_prior == -math.inf, -math.inf, log_weights)


PARTICLES = "_particles"


def particle_plate(size: int, structure: Structure) -> Any:
    """A plate over particles, left of every plate of the program's own."""
    return pyro.plate(PARTICLES, size, dim=-1 - structure.max_plate_nesting)


def draw(
    program: Program,
    structure: Structure,
    num_particles: int,
    *args: Any,
    at_once: int | None = None,
    **kwargs: Any,
) -> Particles:
    """Draws under a plate over particles, left of every plate of the program's own.

    The arguments are not copied, so an encoder sees each datum once. Discrete latents that only the
    model has are summed out.

    :param at_once: how many particles the model scores at a time. All are drawn together, so this is
        a matter of memory, never of noise.
    """
    plate = particle_plate(num_particles, structure)
    guide_trace = run("guide", plate(program.guide), args, kwargs)
    log_guide = score(proposal_sites(guide_trace).values(), structure, num_particles)
    # Parts are filled in as they come: kept, they would lie scattered over the memory that the next
    # part needs in one piece, and what is taken would grow with their number.
    scores: tuple[Tensor, ...] = ()
    for first in range(0, num_particles, at_once or num_particles):
        some = range(num_particles)[first : first + (at_once or num_particles)]
        part = with_values(guide_trace, partial(of_particles, structure=structure, some=some))
        model = particle_plate(len(some), structure)(program.model)
        model_trace = replay(model, part, structure, *args, **kwargs)
        rows = score_model(model_trace, structure, len(some))
        scores = scores or tuple(r.new_empty(num_particles, structure.num_units) for r in rows)
        for whole, row in zip(scores, rows, strict=True):
            whole[some.start : some.stop] = row
    log_likelihood, log_prior = scores
    return Particles(
        log_likelihood,
        log_prior,
        log_guide,
        {name: site["value"] for name, site in drawn_sites(guide_trace).items()},
    )


def draw_one_by_one(
    program: Program,
    structure: Structure,
    num_particles: int,
    *args: Any,
    at_once: int | None = None,
    **kwargs: Any,
) -> Particles:
    """The same for a program that takes no further dimension on the left.

    Which latents there are may differ from draw to draw; ``latents`` holds those that all have.
    """
    draws = []
    for _ in range(num_particles):
        guide_trace = run("guide", program.guide, args, kwargs)
        model_trace = replay(program.model, guide_trace, structure, *args, **kwargs)
        check_match(model_trace, guide_trace)
        draws.append(read_particles(model_trace, guide_trace, structure, 1))
    first = draws[0].latents
    everywhere = [
        name
        for name in first
        if all(name in d.latents and d.latents[name].shape == first[name].shape for d in draws)
    ]
    return Particles(
        torch.cat([d.log_likelihood for d in draws]),
        torch.cat([d.log_prior for d in draws]),
        torch.cat([d.log_guide for d in draws]),
        {name: torch.stack([d.latents[name] for d in draws]) for name in everywhere},
    )


def replay(
    model: Callable[..., Any],
    guide_trace: poutine.Trace,
    structure: Structure,
    *args: Any,
    **kwargs: Any,
) -> poutine.Trace:
    """The model's trace at the guide's draws, with enumerated latents taking all their values."""
    if structure.enumerated:
        model = poutine.enum(model, first_available_dim=-2 - structure.max_plate_nesting)
    return run("model", poutine.replay(model, guide_trace), args, kwargs)


@dataclass(frozen=True)
class Pair:
    """Two particles drawn together: the traces, and what they weigh."""

    guide: poutine.Trace
    model: poutine.Trace
    particles: Particles


def pair_together(examined: Examination, *args: Any, **kwargs: Any) -> Pair | None:
    """Draws two particles together; None where a program mixes them up.

    A program that, say, averages over dimension 0 runs under a particle plate without complaint and
    says something else; so it is tried. The second particle must score as it does alone, and the first
    one's score must not change with the second one's values.
    """
    program, structure, others = examined.program, examined.structure, drawn_sites(examined.guide)
    plate = particle_plate(2, structure)

    def scored(values: poutine.Trace | None = None) -> Pair:
        guide = program.guide if values is None else poutine.replay(program.guide, values)
        guide_trace = run("guide", plate(guide), args, kwargs)
        model_trace = replay(plate(program.model), guide_trace, structure, *args, **kwargs)
        particles = read_particles(model_trace, guide_trace, structure, 2)
        return Pair(guide_trace, model_trace, particles)

    def first_kept(site: Site) -> Tensor:
        value: Tensor = site["value"]
        if not is_per_particle(site, structure):
            return value
        there: Tensor = others[site["name"]]["value"]
        return torch.cat([value[:1], there.expand(value[:1].shape)])

    try:
        pair = scored()
        weights = pair.particles.log_weights
        changed = scored(with_values(pair.guide, first_kept)).particles.log_weights
        if bool(moves(weights[0], changed[0]).any()):
            return None
        one = with_values(pair.guide, partial(of_particles, structure=structure, some=1))
        guide_again = run("guide", poutine.replay(program.guide, one), args, kwargs)
        model_again = replay(program.model, one, structure, *args, **kwargs)
        alone = read_particles(model_again, guide_again, structure, 1).log_weights
    except Exception:  # whatever a program raises where it takes no further dimension
        return None
    return None if bool(moves(weights[1:], alone).any()) else pair


def with_values(trace: poutine.Trace, value: Callable[[Site], Tensor]) -> poutine.Trace:
    """A copy of a trace to replay, whose latents have other values."""
    copy = trace.copy()
    for name, site in drawn_sites(copy).items():
        copy.nodes[name] = cast(Any, {**site, "value": value(site)})
    return copy


def of_particles(site: Site, structure: Structure, some: range | int) -> Tensor:
    """Some particles of a site's value, or one, without its dimension then."""
    value: Tensor = site["value"]
    if not is_per_particle(site, structure):
        return value
    return value[some] if isinstance(some, int) else value[some.start : some.stop]


def is_per_particle(site: Site, structure: Structure) -> bool:
    return site["value"].dim() - site["fn"].event_dim > structure.max_plate_nesting


def read_particles(
    model_trace: poutine.Trace, guide_trace: poutine.Trace, structure: Structure, num_particles: int
) -> Particles:
    """What a pair of traces says of each particle and unit."""
    log_likelihood, log_prior = score_model(model_trace, structure, num_particles)
    log_guide = score(proposal_sites(guide_trace).values(), structure, num_particles)
    latents = {name: site["value"] for name, site in drawn_sites(guide_trace).items()}
    return Particles(log_likelihood, log_prior, log_guide, latents)


def score_model(
    model_trace: poutine.Trace, structure: Structure, num_particles: int
) -> tuple[Tensor, Tensor]:
    """log p(x | z) and log p(z), (K, U) each.

    What has to be summed over the values of enumerated latents counts to the first.
    """
    sites = sample_sites(model_trace)
    if not structure.enumerated:
        latent = [site for site in sites.values() if not site["is_observed"]]
        observed = [site for site in sites.values() if site["is_observed"]]
        return score(observed, structure, num_particles), score(latent, structure, num_particles)
    given = [sites[name] for name in structure.latents if name not in structure.enumerated]
    free = [site for site in given if not depends_on_enumerated(site, structure)]
    log_prior = score(free, structure, num_particles)
    return sum_out(model_trace, structure).expand(num_particles, -1) - log_prior, log_prior


def depends_on_enumerated(site: Site, structure: Structure) -> bool:
    return len(site["fn"].batch_shape) > structure.max_plate_nesting + 1


def dims_of(packed: Any) -> str:
    """The symbols of a packed tensor's dimensions."""
    return str(packed._pyro_dims)


def sum_out(model_trace: poutine.Trace, structure: Structure) -> Tensor:
    """log p(x, z) of each particle and unit, (K or 1, U), with the enumerated latents summed out.

    Exact, by Pyro's plated variable elimination: F. Obermeyer et al., "Tensor variable elimination
    for plated factor graphs", 2019, https://arxiv.org/abs/1902.03210.
    """
    sites = sample_sites(model_trace)
    for name, site in sites.items():
        site["scale"] = 1.0  # an evidence is neither tempered nor subsampled
        # what is masked out counts 1 over all its values, not each 1, unless something depends on it
        if name in structure.enumerated and name not in structure.without_prior:
            unmask(site)
    model_trace.compute_log_prob()
    try:
        model_trace.pack_tensors()
    except ValueError as error:
        name, site = next((n, s) for n, s in sites.items() if "log_prob" not in s.get("packed", {}))
        raise InputError(
            f"the model's site {name!r} has log-probabilities of shape "
            f"{tuple(site['log_prob'].shape)} where {', '.join(map(repr, structure.enumerated))} takes all "
            "its values at once, in a dimension left of every plate: it must broadcast against the plates "
            "as it is, with no dimension put in between"
        ) from error
    symbols = model_trace.plate_to_symbol
    factors: OrderedDict[frozenset[str], list[Tensor]] = OrderedDict()
    for site in sites.values():
        plates = frozenset(symbols[f.name] for f in site["cond_indep_stack"] if f.vectorized)
        factors.setdefault(plates, []).append(site["packed"]["log_prob"])
    sizes = {
        symbol: size
        for terms in factors.values()
        for term in terms
        for symbol, size in zip(dims_of(term), term.shape, strict=True)
    }
    target = [symbols[name] for name in (PARTICLES, structure.unit) if name in symbols]
    try:
        result = contract_to_tensor(
            factors,
            sum_dims=set(sizes) - set(symbols.values()),
            target_ordinal=frozenset(target),
            ring=LogRing(dim_to_size={**dict.fromkeys(target, 1), **sizes}),
        )
    except NotImplementedError as error:  # Pyro's words name its symbols
        raise _crossing(sites, structure) from error
    ordered = result.permute([dims_of(result).index(symbol) for symbol in target])
    return ordered.reshape(-1, structure.num_units)


def _crossing(sites: Mapping[str, Site], structure: Structure) -> InputError:
    """What to say of latents to be summed out that lie in crossing plates."""
    outer = (PARTICLES, structure.unit)
    lie = []
    for name in structure.enumerated:
        frames = sites[name]["cond_indep_stack"]
        inner = [repr(f.name) for f in frames if f.vectorized and f.name not in outer]
        if inner:
            lie.append(f"{name!r} in {' and '.join(inner)}")
    return InputError(
        f"latents to be summed out lie in plates that cross ({', '.join(lie)}), so their sum does not "
        "factorise: make one of the plates a loop (`for i in pyro.plate(...)`) with a site each, if it is "
        "short, or draw one of the latents in the guide"
    )
