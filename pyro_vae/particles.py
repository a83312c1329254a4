"""Many draws of the latents at once, and what each says of each unit's log-probabilities."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.ops.contract import contract_to_tensor
from pyro.ops.rings import LogRing
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.layout import Layout
from pyro_vae.program import Program
from pyro_vae.scores import log_prob
from pyro_vae.traces import Site, latent_sites, run, sample_sites


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
        """log p(x, z) - log q(z | x), shape (K, U)."""
        return self.log_likelihood + self.log_prior - self.log_guide


PARTICLES = "_particles"


def particle_plate(size: int, layout: Layout) -> Any:
    """A plate over particles, left of every plate of the program's own."""
    return pyro.plate(PARTICLES, size, dim=-1 - layout.nesting)


def draw(
    program: Program,
    layout: Layout,
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
    plate = particle_plate(num_particles, layout)
    guide_trace = run("guide", plate(program.guide), args, kwargs)
    log_guide = score(sample_sites(guide_trace).values(), layout, num_particles)
    # Parts are filled in as they come: kept, they would lie scattered over the memory that the next
    # part needs in one piece, and what is taken would grow with their number.
    scores: tuple[Tensor, ...] = ()
    for first in range(0, num_particles, at_once or num_particles):
        some = range(num_particles)[first : first + (at_once or num_particles)]
        part = with_values(guide_trace, partial(of_particles, layout=layout, some=some))
        model = particle_plate(len(some), layout)(program.model)
        model_trace = replay(model, part, layout, *args, **kwargs)
        rows = score_model(model_trace, layout, len(some))
        scores = scores or tuple(r.new_empty(num_particles, layout.num_units) for r in rows)
        for whole, row in zip(scores, rows, strict=True):
            whole[some.start : some.stop] = row
    log_likelihood, log_prior = scores
    return Particles(
        log_likelihood,
        log_prior,
        log_guide,
        {name: site["value"] for name, site in latent_sites(guide_trace).items()},
    )


def draw_one_by_one(
    program: Program,
    layout: Layout,
    num_particles: int,
    *args: Any,
    at_once: int | None = None,
    **kwargs: Any,
) -> Particles:
    """The same for a program that takes no further dimension on the left."""
    draws = []
    for _ in range(num_particles):
        guide_trace = run("guide", program.guide, args, kwargs)
        model_trace = replay(program.model, guide_trace, layout, *args, **kwargs)
        draws.append(read_particles(model_trace, guide_trace, layout, 1))
    return Particles(
        torch.cat([d.log_likelihood for d in draws]),
        torch.cat([d.log_prior for d in draws]),
        torch.cat([d.log_guide for d in draws]),
        {name: torch.stack([d.latents[name] for d in draws]) for name in draws[0].latents},
    )


def replay(
    model: Callable[..., Any],
    guide_trace: poutine.Trace,
    layout: Layout,
    *args: Any,
    **kwargs: Any,
) -> poutine.Trace:
    """The model's trace at the guide's draws, with enumerated latents taking all their values.

    A latent that the guide draws elsewhere and puts at a point, as AutoGuides do, has its prior counted
    where the model masks it, too: the guide's density counts it, and the prior integrates to one.
    """
    if layout.enumerated:
        model = poutine.enum(model, first_available_dim=-2 - layout.nesting)
    trace = run("model", poutine.replay(model, guide_trace), args, kwargs)
    for name in layout.latents:
        site = guide_trace.nodes.get(name)
        if site and is_point_mass(site["fn"]) and mask_of(cast(Site, site)).all():
            unmask(cast(Site, trace.nodes[name]))
    return trace


def is_point_mass(fn: Any) -> bool:
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    return isinstance(fn, dist.Delta)


def mask_of(site: Site) -> Tensor:
    """Where a site's log-probability counts, by ``poutine.mask`` or its distribution's own masks.

    It broadcasts to the value's shape, ``batch | event``.
    """

    def over_events(mask: Any, event_dim: int) -> Tensor:
        mask = torch.as_tensor(mask, device=site["value"].device)
        return cast(Tensor, mask.reshape(mask.shape + (1,) * event_dim))

    fn = site["fn"]
    mask = over_events(True if site["mask"] is None else site["mask"], fn.event_dim)
    while isinstance(fn, dist.Independent | dist.MaskedDistribution):
        if isinstance(fn, dist.MaskedDistribution):
            mask = mask & over_events(fn._mask, fn.event_dim)
        fn = fn.base_dist
    return mask


def unmask(site: Site) -> None:
    """Lets a site's log-probability count everywhere."""
    site["mask"], site["fn"] = None, without_masks(site["fn"])


def without_masks(fn: Any) -> Any:
    """A distribution without the masks around it and within its events."""
    if isinstance(fn, dist.MaskedDistribution):
        return without_masks(fn.base_dist)
    if isinstance(fn, dist.Independent):
        return without_masks(fn.base_dist).to_event(fn.reinterpreted_batch_ndims)
    return fn


def draws_together(program: Program, layout: Layout, *args: Any, **kwargs: Any) -> bool:
    """Whether two particles drawn together score as they do when replayed one at a time.

    A program that, say, averages over dimension 0 runs under a particle plate without complaint and
    says something else; so it is tried. Nor may one particle's score change with the other's values.
    """
    plate = particle_plate(2, layout)

    def scored(values: poutine.Trace | None = None) -> tuple[poutine.Trace, Tensor]:
        guide = program.guide if values is None else poutine.replay(program.guide, values)
        guide_trace = run("guide", plate(guide), args, kwargs)
        model_trace = replay(plate(program.model), guide_trace, layout, *args, **kwargs)
        return guide_trace, read_particles(model_trace, guide_trace, layout, 2).log_weights

    def first_kept(site: Site) -> Tensor:
        first, other = (of_particles(s, layout, range(2)) for s in (site, others[site["name"]]))
        return torch.cat([first[:1], other[1:]]) if is_per_particle(site, layout) else first

    try:
        guide_trace, together = scored()
        others = latent_sites(scored()[0])
        _, changed = scored(with_values(guide_trace, first_kept))
    except (ValueError, RuntimeError):
        return False
    if not torch.allclose(changed[0], together[0], rtol=1e-5, atol=1e-4, equal_nan=True):
        return False
    apart = []
    for k in range(2):
        one = with_values(guide_trace, partial(of_particles, layout=layout, some=k))
        guide_again = run("guide", poutine.replay(program.guide, one), args, kwargs)
        model_again = replay(program.model, one, layout, *args, **kwargs)
        apart.append(read_particles(model_again, guide_again, layout, 1).log_weights)
    return torch.allclose(torch.cat(apart), together, rtol=1e-3, atol=1e-3, equal_nan=True)


def with_values(trace: poutine.Trace, value: Callable[[Site], Tensor]) -> poutine.Trace:
    """A copy of a trace to replay, whose latents have other values."""
    copy = trace.copy()
    for name, site in latent_sites(copy).items():
        copy.nodes[name] = cast(Any, {**site, "value": value(site)})
    return copy


def of_particles(site: Site, layout: Layout, some: range | int) -> Tensor:
    """Some particles of a site's value, or one, without its dimension then."""
    value: Tensor = site["value"]
    if not is_per_particle(site, layout):
        return value
    return value[some] if isinstance(some, int) else value[some.start : some.stop]


def is_per_particle(site: Site, layout: Layout) -> bool:
    return site["value"].dim() - site["fn"].event_dim > layout.nesting


def read_particles(
    model_trace: poutine.Trace, guide_trace: poutine.Trace, layout: Layout, num_particles: int
) -> Particles:
    """What a pair of traces says of each particle and unit."""
    log_likelihood, log_prior = score_model(model_trace, layout, num_particles)
    log_guide = score(sample_sites(guide_trace).values(), layout, num_particles)
    latents = {name: site["value"] for name, site in latent_sites(guide_trace).items()}
    return Particles(log_likelihood, log_prior, log_guide, latents)


def score_model(
    model_trace: poutine.Trace, layout: Layout, num_particles: int
) -> tuple[Tensor, Tensor]:
    """log p(x | z) and log p(z), (K, U) each.

    What has to be summed over the values of enumerated latents counts to the first.
    """
    sites = sample_sites(model_trace)
    if not layout.enumerated:
        latent = [site for site in sites.values() if not site["is_observed"]]
        observed = [site for site in sites.values() if site["is_observed"]]
        return score(observed, layout, num_particles), score(latent, layout, num_particles)
    given = [sites[name] for name in layout.latents if name not in layout.enumerated]
    free = [site for site in given if not depends_on_enumerated(site, layout)]
    log_prior = score(free, layout, num_particles)
    return sum_out(model_trace, layout).expand(num_particles, -1) - log_prior, log_prior


def score(sites: Iterable[Site], layout: Layout, num_particles: int) -> Tensor:
    """The sites' log-probabilities summed over everything but particles and units, (K, U)."""
    total = sum((unit_log_prob(site, layout) for site in sites), start=torch.zeros(()))
    return total.expand(num_particles, layout.num_units)


def depends_on_enumerated(site: Site, layout: Layout) -> bool:
    return len(site["fn"].batch_shape) > layout.nesting + 1


def dims_of(packed: Any) -> str:
    """The symbols of a packed tensor's dimensions."""
    return str(packed._pyro_dims)


def sum_out(model_trace: poutine.Trace, layout: Layout) -> Tensor:
    """log p(x, z) of each particle and unit, (K or 1, U), with the enumerated latents summed out.

    Exact, by Pyro's plated variable elimination: F. Obermeyer et al., "Tensor variable elimination
    for plated factor graphs", 2019, https://arxiv.org/abs/1902.03210.
    """
    sites = sample_sites(model_trace)
    for name, site in sites.items():
        site["scale"] = 1.0  # an evidence is neither tempered nor subsampled
        if name in layout.enumerated:  # what is masked out counts 1 over all its values, not each 1
            unmask(site)
    model_trace.compute_log_prob()
    try:
        model_trace.pack_tensors()
    except ValueError as error:
        name, site = next((n, s) for n, s in sites.items() if "log_prob" not in s.get("packed", {}))
        raise InputError(
            f"the model's site {name!r} has log-probabilities of shape "
            f"{tuple(site['log_prob'].shape)} where {', '.join(map(repr, layout.enumerated))} takes all "
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
    target = [symbols[name] for name in (PARTICLES, layout.unit) if name in symbols]
    try:
        result = contract_to_tensor(
            factors,
            sum_dims=set(sizes) - set(symbols.values()),
            target_ordinal=frozenset(target),
            ring=LogRing(dim_to_size={**dict.fromkeys(target, 1), **sizes}),
        )
    except NotImplementedError as error:  # Pyro's words name its symbols
        raise _crossing(sites, layout) from error
    ordered = result.permute([dims_of(result).index(symbol) for symbol in target])
    return ordered.reshape(-1, layout.num_units)


def _crossing(sites: Mapping[str, Site], layout: Layout) -> InputError:
    """What to say of latents to be summed out that lie in crossing plates."""
    outer = (PARTICLES, layout.unit)
    lie = []
    for name in layout.enumerated:
        frames = sites[name]["cond_indep_stack"]
        inner = [repr(f.name) for f in frames if f.vectorized and f.name not in outer]
        if inner:
            lie.append(f"{name!r} in {' and '.join(inner)}")
    return InputError(
        f"latents to be summed out lie in plates that cross ({', '.join(lie)}), so their sum does not "
        "factorise: make one of the plates a loop (`for i in pyro.plate(...)`) with a site each, if it is "
        "short, or draw one of the latents in the guide"
    )


def unit_log_prob(site: Site, layout: Layout) -> Tensor:
    """A site's log-probability summed to (K or 1, U), masked but never scaled."""
    return unit_sum(site, log_prob(site["fn"], site["value"]), layout)


def unit_sum(site: Site, log_prob: Tensor, layout: Layout) -> Tensor:
    """What a site's values say, ``batch |``, summed to (K or 1, U) where the site is not masked."""
    log_prob = scale_and_mask(log_prob, 1.0, site["mask"])
    dims = layout.nesting + 1
    log_prob = log_prob.reshape((1,) * (dims - log_prob.dim()) + log_prob.shape)
    unit = dims + layout.dim if layout.unit else None
    rest = [d for d in range(1, dims) if d != unit]
    summed = log_prob.sum(rest) if rest else log_prob
    return summed if layout.unit else summed.reshape(-1, 1)
