"""Data that a posterior predicts: of the rows that it has seen, and of new ones."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.estimate import log_evidence
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.inference.posterior.at_draws import in_parts, named, placed, trace_of
from pyro_vae.inference.posterior.discrete import BEST, discrete_given
from pyro_vae.inference.posterior.rows import Rows, score_rows
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.redrawing import redrawing
from pyro_vae.program.trace import sample_sites, shape_of

if TYPE_CHECKING:
    from pyro_vae.inference.posterior.result import Posterior


@dataclass(frozen=True)
class LogPredictive:
    """Hold log p(new row | data) of each row, ``rows |``, in nats, and its Monte-Carlo standard error.

    The error is NaN where a few draws decide the figure.
    """

    log_density: Tensor
    standard_error: Tensor

    @property
    def total(self) -> float:
        """The sum over rows: the expected log predictive density, as ``elpd``."""
        return float(self.log_density.sum())


def spread_evenly(num_draws: int, num: int) -> Tensor:
    """Return the numbers of ``num`` of the draws, evenly over all: those of all chains."""
    return (torch.arange(num) * num_draws) // num


def over_tiles(
    posterior: "Posterior",
    draws: Mapping[str, Tensor],
    seed: int | None,
    run: Callable[[BoundProgram, dict[str, Tensor]], dict[str, Tensor]],
) -> dict[str, Tensor]:
    """Return what ``run`` gives for all units, ``draws | plates | event``, on the CPU.

    Args:
        posterior: whose program is opened again.
        draws: of latents, as the posterior has them.
        seed: of the noise.
        run: takes a tile's call and the draws of its units in the shapes of the program.
    """
    parts = []
    with posterior.source.open(seed) as tiles:
        for number, call in enumerate(tiles):
            some = of_units(posterior, draws, tiles.index[number])
            found = run(call, placed(some, posterior.layouts, call))
            count = len(next(iter(draws.values())))
            shaped = named(found, posterior.layouts, count, call)
            parts.append({name: value.cpu() for name, value in shaped.items()})
    axes = {name: posterior.layouts[name].axis(posterior.unit) for name in parts[0]}
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts], axes[name] or 0) for name in parts[0]}


def predict_data(posterior: "Posterior", num: int, seed: int | None) -> dict[str, Tensor]:
    """Return draws of p(x' | x) for the rows of the data, by observed site, ``num | plates | event``."""
    chosen = spread_evenly(posterior.num_draws, num)
    draws = {name: value[chosen] for name, value in posterior.latents.items()}
    return over_tiles(
        posterior, draws, seed, lambda call, values: _predict(posterior, call, num, values)
    )


def best_given(posterior: "Posterior") -> dict[str, Tensor]:
    """Return the most probable values of the summed-out latents, given the others of each draw."""

    def run(call: BoundProgram, values: dict[str, Tensor]) -> dict[str, Tensor]:
        given = {n: v for n, v in values.items() if n not in call.structure.enumerated}
        return discrete_given(call, given, posterior.num_draws, BEST)

    return over_tiles(posterior, posterior.latents, 0, run)


def of_units(
    posterior: "Posterior", draws: Mapping[str, Tensor], units: Tensor
) -> dict[str, Tensor]:
    """Return the draws of some units; of all for a joint posterior."""
    axes = {name: posterior.layouts[name].axis(posterior.unit) for name in draws}
    return {
        name: value if axes[name] is None else value.index_select(axes[name] or 0, units)
        for name, value in draws.items()
    }


def _predict(
    posterior: "Posterior", bound_program: BoundProgram, num: int, values: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return draws of the observed sites given latents, both in the shapes of the program."""

    def run(count: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        trace = bound_program.model(
            count, lambda model: poutine.replay(redrawing(model), trace=trace_of(given))
        )
        sites = sample_sites(trace)
        return {name: sites[name]["value"] for name in posterior.observed}

    return in_parts(bound_program, run, num, values)


# --- new rows -------------------------------------------------------------------------------------


def predict_new(posterior: "Posterior", new: Any, num: int, seed: int | None) -> dict[str, Tensor]:
    """Return draws of the observed sites for new rows, ``num | plates | event``."""
    with _on_new_rows(posterior, new, num, seed) as (bound_program, values):
        drawn = _predict(posterior, bound_program, num, values)
        shaped = named(drawn, posterior.layouts, num, bound_program)
        return {name: value.cpu() for name, value in shaped.items()}


def log_predictive(posterior: "Posterior", new: Any, num: int, seed: int | None) -> LogPredictive:
    """Return log p(new row | data) of each new row."""
    rows = Rows.of(posterior)
    rows.check()
    if not rows.shared:
        return _from_evidence(posterior, new, num, seed)
    with _on_new_rows(posterior, new, num, seed) as (bound_program, values):
        structure = rows.structure(bound_program.structure)
        drawn = [name for name in posterior.latents if name not in structure.enumerated]

        def run(count: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
            trace = bound_program.model(
                count, lambda model: poutine.replay(model, trace=trace_of(given)), sum_out=True
            )
            scores = score_rows(trace, structure, count, drawn)
            return {"scores": scores if bound_program.vectorized else scores[0]}

        scores = in_parts(bound_program, run, num, values)["scores"]
        sums = WeightSums(num, scores.shape[1], scores.device)
        sums.add(scores)
        return LogPredictive(sums.log_mean().cpu(), sums.standard_error().cpu())


def _from_evidence(posterior: "Posterior", new: Any, num: int, seed: int | None) -> LogPredictive:
    """Return the evidence of new rows: rows that share no latent tell nothing of one another."""
    args, kwargs = _arguments(new)
    source = posterior.source
    by_row = {"data": args} if source.data is not None else {"args": args, "kwargs": kwargs}
    options: dict[str, Any] = {"unit": source.unit, "seed": seed, "device": source.device}
    found = log_evidence(source.program, num_particles=num, progress=False, **by_row, **options)
    return LogPredictive(found.log_evidence, found.standard_error)


@contextmanager
def _on_new_rows(
    posterior: "Posterior", new: Any, num: int, seed: int | None
) -> Iterator[tuple[BoundProgram, dict[str, Tensor]]]:
    """Give the program called with new rows, and the shared latents' draws in its shapes."""
    args, kwargs = _arguments(new)
    shared = Rows.of(posterior).shared
    chosen = spread_evenly(posterior.num_draws, num)
    draws = {name: posterior.draws[name][chosen] for name in shared}
    with posterior.source.open(seed) as tiles:
        device = tiles.example.device
        bound_program = replace(
            tiles.example,
            args=tuple(a.to(device) if isinstance(a, Tensor) else a for a in args),
            kwargs={n: a.to(device) if isinstance(a, Tensor) else a for n, a in kwargs.items()},
            by_rows=False,
            examined=None,
            pair=None,
        )
        single = bound_program.single()
        first = placed({n: v[:1] for n, v in draws.items()}, posterior.layouts, single)
        trace = _first_run(posterior, single, {name: value[0] for name, value in first.items()})
        sites = sample_sites(trace)
        plates = {f.name: f.size for s in sites.values() for f in s["cond_indep_stack"]}
        structure = replace(bound_program.structure, plates=plates)
        bound_program = replace(bound_program, structure=structure)
        yield bound_program, placed(draws, posterior.layouts, bound_program)


def _first_run(
    posterior: "Posterior", single: BoundProgram, given: Mapping[str, Tensor]
) -> poutine.Trace:
    """Return the model's trace for new rows at one draw, checked.

    Raises:
        InputError: the model does not take the new rows, or a shared latent has another size there.
    """
    try:
        trace = single.model(1, lambda model: poutine.replay(model, trace=trace_of(given)))
    except InputError as error:
        raise InputError(
            f"new rows: {error.problem}",
            subject=error.subject or "new",
            expected=error.expected,
            remedy=error.remedy
            or "pass every argument that the model takes, in the shapes of the data; for a response that "
            "is not known any values will do, or None where the model takes it",
        ) from error
    sites = sample_sites(trace)
    for name, value in given.items():
        if name not in sites:
            raise InputError(
                f"the model does not draw {name!r} with the new rows",
                subject=name,
                expected="the same latents outside of the rows' plate",
            )
        there = shape_of(sites[name]["fn"])
        if value.numel() != there.numel():
            raise InputError(
                f"site {name!r} has {value.numel():,} values in the posterior, and the model asks for "
                f"{there.numel():,} with the new rows",
                subject=name,
                expected="new rows of the same groups",
                remedy="number the groups as the data do, and keep the size of their plate",
            )
    return trace


def _arguments(new: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return the arguments of a call with new rows.

    Raises:
        InputError: they are of another kind.
    """
    if isinstance(new, Mapping):
        return (), new
    if isinstance(new, Tensor):
        return (new,), {}
    if isinstance(new, tuple | list) and new:
        return tuple(new), {}
    raise InputError(
        f"new must be the arguments of the model for new rows, not a {type(new).__name__}",
        subject="new",
        expected="a tensor, a tuple of arguments, or a mapping of names to arguments",
        remedy="pass the new rows as the data were passed",
    )
