"""Running a program again with other latents, data or order, and comparing the scores.

One tolerance separates a moved score from rounding: a thousandth of a nat, and 1e-5 of the score. Sums of
thousands of float32 terms, in another order or from a larger matrix product, differ by less. A change of a
unit's score by less stays unseen. In float64 (``fine``) the tolerance is a millionth of that, so that
effects that are still small at the first parameters are seen, too.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from pyro import poutine
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor
from torch.distributions import biject_to

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.log_prob import unit_log_prob
from pyro_vae.program.particles import Particles, read_particles, score_model, with_values
from pyro_vae.program.structure import Structure
from pyro_vae.program.sum_out import enumerating
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    is_point_mass,
    latent_sites,
    proposal_sites,
    run,
    sample_sites,
)
from pyro_vae.program.wrappers import innermost, without_masks

ABSOLUTE, RELATIVE = 1e-3, 1e-5
FINE = 1e-6  # of both, in float64
PROBE_SEED = (
    982_451_653  # of reruns: no caller's seed, so that other draws differ from the caller's
)
TRIES = 30  # draws to find another value of a discrete site
JITTER = 0.5  # of unconstrained numbers
OF_GUIDE, OF_MODEL = "the guide's site", "the model's site"

Scores = Mapping[str, Tensor]


# --- comparing scores -----------------------------------------------------------------------------


def moves(before: Tensor, after: Tensor, fine: bool = False) -> Tensor:
    """Return where a score moves, elementwise; NaN on both sides, or the same infinity, does not."""
    before, after = torch.broadcast_tensors(before, after)
    same = (before == after) | (before.isnan() & after.isnan())
    leeway = (ABSOLUTE + RELATIVE * before.abs()) * (FINE if fine else 1.0)
    return ~(same | (before.isfinite() & ((before - after).abs() <= leeway)))


def moved_sites(before: Scores, after: Scores, fine: bool = False) -> list[str]:
    """Return the sites whose score has moved, or that are on one side only.

    A guide's site on one side only is left out: it may score nothing but what it has just drawn.
    """
    both = before.keys() & after.keys()
    return [
        name
        for name in dict.fromkeys([*before, *after])
        if (name not in both and not name.startswith(OF_GUIDE))
        or (name in both and bool(moves(before[name], after[name], fine).any()))
    ]


class Difference(NamedTuple):
    """Name a site whose log-probability differs, and the largest difference in nats."""

    site: str
    nats: float

    def __str__(self) -> str:
        return f"{self.nats:.3g} nats at {self.site}"


def difference(before: Scores, after: Scores) -> Difference | None:
    """Return the first site whose score has moved, and by how many nats; a missing score counts 0.

    >>> difference({"a": torch.zeros(2)}, {"a": torch.tensor([0.0, 3.0])})
    Difference(site='a', nats=3.0)
    """
    for name in moved_sites(before, after):
        a, b = (scores.get(name, torch.zeros(())).cpu() for scores in (before, after))
        return Difference(name, float((a - b).abs().nan_to_num(torch.inf).max()))
    return None


def site_scores(trace: poutine.Trace, structure: Structure) -> dict[str, Tensor]:
    """Return the log-probability of each site, (K or 1, U), masked, never scaled."""
    return {
        name: unit_log_prob(site, structure).detach() for name, site in sample_sites(trace).items()
    }


# --- runs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Traces:
    """Hold one run of guide and model.

    Latents of the model alone are drawn. They take all their values where the run sums them out, or the
    model runs in no other way.
    """

    guide: poutine.Trace
    model: poutine.Trace
    num_chains: int = 1

    def latents(self) -> poutine.Trace:
        """Return everything that was drawn, to replay: also the latents of the model alone."""
        latents = self.guide.copy()
        for name, site in latent_sites(self.model).items():
            latents.nodes.setdefault(name, cast(Any, site))
        return latents

    def scores(self, structure: Structure) -> dict[str, Tensor]:
        """Return the log-density of each site, (K, U), on the host; the key says model or guide.

        A guide's site that cannot score a given value, as a flow without an inverse, is left out.
        """
        scores: dict[str, Tensor] = {}
        for name, site in proposal_sites(self.guide).items():
            with suppress(InputError):
                scores[f"{OF_GUIDE} {name!r}"] = unit_log_prob(site, structure)
        if structure.holds_enumerated_only:
            given, prior = score_model(self.model, structure, self.num_chains)
            scores["the model"] = given + prior
        else:
            of_model = site_scores(self.model, structure)
            scores |= {f"{OF_MODEL} {name!r}": score for name, score in of_model.items()}
        shape = self.num_chains, structure.num_units
        return {name: score.detach().expand(shape).cpu() for name, score in scores.items()}

    def particles(self, structure: Structure) -> Particles:
        """Return the draws and weights of a run that sums enumerated latents out."""
        return read_particles(self.model, self.guide, structure, self.num_chains)


def draw_traces(bound_program: BoundProgram, num_chains: int = 1, sum_out: bool = False) -> Traces:
    """Run guide and model once, with new draws.

    Args:
        bound_program: the program and its arguments.
        num_chains: how many chains run together; 1 unless the call is vectorized.
        sum_out: whether enumerated latents take all their values.
    """
    return _run(bound_program, num_chains, poutine.Trace(), {}, sum_out)


def examined_traces(bound_program: BoundProgram) -> Traces:
    """Return the run that examined the program, or a new one if there is none."""
    if bound_program.examined is None:
        return draw_traces(bound_program)
    return Traces(bound_program.examined.guide, bound_program.examined.model)


def _own_value(site: Site) -> Tensor:
    value: Tensor = site["value"]
    return value


def rerun(
    bound_program: BoundProgram,
    first: Traces,
    value: Callable[[Site], Tensor] = _own_value,
    num_chains: int = 1,
    seed: int = PROBE_SEED,
    sum_out: bool = False,
) -> Traces:
    """Run guide and model again with latents that are made from those of another run.

    Latents that the guide puts at a point follow from its other sites, as before. Noise outside
    ``pyro.sample`` is the same for the same seed.

    Args:
        bound_program: the program and its arguments, which may be others than in the first run.
        first: the other run.
        value: the new value of a latent, given its site in the first run; by default the same.
        num_chains: how many chains run together; 1 unless the call is vectorized.
        seed: of everything that is drawn here.
        sum_out: whether enumerated latents take all their values.
    """
    free = with_values(first.guide, value)
    for name in [n for n, site in drawn_sites(free).items() if is_point_mass(site["fn"])]:
        free.remove_node(name)
    for name in [n for n, site in free.nodes.items() if _is_whole_plate(site)]:
        free.remove_node(name)  # its length is that of the data, which may be others
    of_model = (
        {} if sum_out or bound_program.structure.holds_enumerated_only else _of_model(first, value)
    )
    seed_all(seed)
    return _run(bound_program, num_chains, free, of_model, sum_out)


def _of_model(first: Traces, value: Callable[[Site], Tensor]) -> dict[str, Site]:
    """Return the latents of the model alone with new values, and the subsamples of its plates."""
    sites: dict[str, Site] = {}
    latents = latent_sites(first.model)
    for name, node in first.model.nodes.items():
        site = cast(Site, node)
        if name in first.guide.nodes:
            continue
        if name in latents:
            sites[name] = {**site, "value": value(site)}
        elif isinstance(site.get("fn"), _Subsample) and not _is_whole_plate(site):
            sites[name] = site
    return sites


def rerun_model(bound_program: BoundProgram, first: Traces) -> poutine.Trace:
    """Run the model alone at the draws of another run."""
    if bound_program.structure.holds_enumerated_only:
        return bound_program.joint(first.num_chains, first.guide)
    return model_at(bound_program, first.latents(), first.num_chains)


def model_at(
    bound_program: BoundProgram, latents: poutine.Trace, num_chains: int = 1
) -> poutine.Trace:
    """Run the model at given values of its latents, enumerated ones among them."""
    model = poutine.replay(bound_program.chains(bound_program.program.model, num_chains), latents)
    if bound_program.structure.holds_enumerated_only:
        model = enumerating(
            model, bound_program.structure.max_plate_nesting, beside_particles=False
        )
    return run("model", model, bound_program.args, bound_program.kwargs)


def _run(
    bound_program: BoundProgram,
    num_chains: int,
    given: poutine.Trace,
    of_model: dict[str, Site],
    sum_out: bool,
) -> Traces:
    guide = bound_program.guide(num_chains, lambda guide: poutine.replay(guide, given))
    if sum_out or bound_program.structure.holds_enumerated_only:
        return Traces(guide, bound_program.joint(num_chains, guide), num_chains)
    latents = guide.copy()
    latents.nodes.update(cast(Any, of_model))
    return Traces(guide, model_at(bound_program, latents, num_chains), num_chains)


def _is_whole_plate(site: Any) -> bool:
    """Return whether a site is a plate that takes all its rows, in their order."""
    fn, rows = site.get("fn"), site.get("value")
    if not isinstance(fn, _Subsample) or not isinstance(rows, Tensor) or rows.shape != (fn.size,):
        return False
    return bool((rows.cpu() == torch.arange(fn.size)).all())


# --- other values ---------------------------------------------------------------------------------


def other_value(site: Site) -> Tensor:
    """Return another value of a site within its support, of the same shape.

    Raises:
        InputError: the distribution has neither draws of that shape nor a known support.
    """
    value: Tensor = site["value"]
    fn = without_masks(site["fn"])
    with suppress(NotImplementedError, ValueError, RuntimeError):
        drawn: Tensor = fn.sample()
        if fn.support.is_discrete:  # a draw may well be the same value
            drawn = _replaced(fn, value, drawn, (fn.sample() for _ in range(TRIES)))
            with suppress(NotImplementedError):
                drawn = _replaced(fn, value, drawn, fn.enumerate_support(expand=True))
        if drawn.shape == value.shape:
            return drawn
    try:
        onto = biject_to(fn.support)
        raw = onto.inv(value)
        return onto(raw + JITTER * (1 + torch.rand_like(raw)))
    except (NotImplementedError, ValueError, RuntimeError) as error:
        raise InputError(
            f"site {site['name']!r} ({fn}) can be given no other value, so nothing shows whether other "
            "sites depend on it",
            subject=site["name"],
            expected="a distribution that can be drawn from, or has a known support",
        ) from error


def _replaced(fn: Any, value: Tensor, drawn: Tensor, others: Iterable[Tensor]) -> Tensor:
    """Return draws in which those equal to the value are replaced by others."""
    own = len(innermost(fn).event_shape)  # dimensions of a single draw, as of a one-hot class
    for other in others:
        same = (drawn == value).reshape(*drawn.shape[: drawn.dim() - own], -1).all(-1)
        drawn = torch.where(same.reshape(same.shape + (1,) * own), other, drawn)
    return drawn
