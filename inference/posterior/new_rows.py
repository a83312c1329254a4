"""New rows that a posterior predicts, and their density."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.estimate import log_evidence
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.inference.posterior.at_draws import in_parts, named, placed, trace_of
from pyro_vae.inference.posterior.moments import error_of_sum
from pyro_vae.inference.posterior.predictive import run_at_draws, spread_evenly, value_of
from pyro_vae.inference.posterior.rows import Rows, score_rows
from pyro_vae.notebook import table
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.trace import sample_sites, shape_of

if TYPE_CHECKING:
    from pyro_vae.inference.posterior.result import Posterior

SHOWN = 10  # rows, in print


@dataclass(frozen=True, eq=False, repr=False)
class LogPredictive:
    """Hold log p(new row | data) of each row, ``rows |``, in nats, and its Monte-Carlo standard error.

    The error is NaN where a few draws decide the figure. ``print`` shows the first rows.

    >>> LogPredictive(torch.tensor([-1.25, -0.5]), torch.tensor([0.01, 0.02]))
    log p(new row | data) of 2 new rows: -1.750 nats together
    row 0: -1.250 ± 0.010
    row 1: -0.500 ± 0.020
    """

    log_density: Tensor
    standard_error: Tensor

    def __repr__(self) -> str:
        caption, lines, left_out = self._table()
        rows = (f"row {n}: {x} ± {error}" for n, x, error in lines)
        return "\n".join([caption, *rows, *left_out])

    def _repr_html_(self) -> str:
        caption, lines, left_out = self._table()
        return table(lines, ("new row", "log p, nats", "Monte-Carlo error"), caption, left_out)

    def _table(self) -> tuple[str, list[tuple[str, str, str]], list[str]]:
        """Return what is shown: a caption, the first rows, and how many more there are."""
        num, pairs = len(self.log_density), zip(self.log_density, self.standard_error, strict=True)
        lines = [
            (f"{n}", f"{float(x):.3f}", "unknown" if error.isnan() else f"{float(error):.3f}")
            for n, (x, error) in enumerate(islice(pairs, SHOWN))
        ]
        rows = f"{num:,} new row{'s' * (num != 1)}"
        caption = f"log p(new row | data) of {rows}: {self.total:.3f} nats together"
        return caption, lines, [f"... ({num - SHOWN:,} more)"] if num > SHOWN else []

    @property
    def total(self) -> float:
        """The sum over rows: the expected log predictive density, as ``elpd``."""
        return float(self.log_density.sum())


def predict_new(posterior: "Posterior", new: Any, num: int, seed: int | None) -> dict[str, Tensor]:
    """Return draws of the observed sites for new rows, ``num | plates | event``.

    Raises:
        InputError: the data have no rows. New ones may then depend on those that were seen, as the values
            of a Gaussian process do, and not on the latents alone.
    """
    Rows.of(posterior).check()
    with _on_new_rows(posterior, new, num, seed) as (bound_program, values):
        drawn = run_at_draws(posterior, bound_program, num, values, value_of)
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

        scores = in_parts(bound_program, run, num, values)["scores"].cpu()
    sums = WeightSums(num, scores.shape[1], scores.device)
    sums.add(scores)
    return LogPredictive(sums.log_mean(), sums.standard_error() * _inflation(posterior, scores))


def _inflation(posterior: "Posterior", scores: Tensor) -> Tensor:
    """Return by which factor the error of a mean over draws exceeds that of independent ones, (rows,).

    Draws of chains count for their effective sample size. One of S draws that are taken by weight w counts
    for 1 / S, or for w where that is more: it then comes again. The error is at least that of
    independent islands.

    Args:
        posterior: of one joint distribution.
        scores: log-densities at S of the draws, evenly over all, (S, rows).
    """
    density = (scores - scores.amax(0)).double().exp()
    off, num = (density - density.mean(0)).square(), len(scores)
    if not posterior.is_independent:
        from pyro_vae.inference.posterior.chains import chain_figures

        ess = chain_figures(density, posterior.num_chains).ess_of_mean
        return (num / ess).sqrt().nan_to_num(1.0)
    index = posterior.index[spread_evenly(posterior.num_draws, num), 0]
    share = (num * posterior.log_weights[index, 0].exp()).clamp(min=1.0).unsqueeze(-1)
    square = (share * off).mean(0) / off.mean(0)
    if posterior.num_islands > 1:
        island = index // (posterior.num_particles // posterior.num_islands)
        terms = density.new_zeros(posterior.num_islands, scores.shape[1])
        terms.index_add_(0, island, density - density.mean(0))
        square = torch.maximum(square, error_of_sum(terms).square() / off.sum(0))
    found = square.sqrt().nan_to_num(1.0)
    return torch.where(posterior.without_error[0], math.nan, found)


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
