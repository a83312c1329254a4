"""The column of leave-one-out cross-validation, by ArviZ."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.comparison.column import NOTHING, Column, Figures, numbers
from pyro_vae.inference.comparison.lineup import Candidate, Lineup, paired_error, quoted
from pyro_vae.inference.comparison.of_rows import posterior_of
from pyro_vae.inference.evidence.arviz import inference_data
from pyro_vae.inference.evidence.draws import DrawsPosterior
from pyro_vae.inference.evidence.psis import bad_k
from pyro_vae.inference.posterior.methods import IMPORTANCE

CHECKS: dict[str, checks.Check] = {
    "method": checks.instance(
        (str, DrawsPosterior, type), "a method that draws, such as Importance()"
    ),
    "num_draws": at_least_1,
    "num_particles": checks.optional(at_least_1),
    "num_inner": at_least_1,
}


@dataclass(frozen=True)
class LOO(Column):
    """Leave-one-out: the sum over rows of log p(row | the other rows), and its difference, by ArviZ.

    Of a joint model it comes from draws of the posterior, whose log-likelihoods are weighted by
    Pareto-smoothed importance sampling; ``k`` is the largest Pareto k of a row, which above 0.7 (and less
    with few draws) makes the figure unreliable. A row's own latents are integrated out. Where rows share
    no latent, the other rows say nothing about a row, so the figure is the log evidence of the rows.

    Args:
        num_draws: of the posterior.
        method: of :func:`pyro_vae.posterior`.
        num_particles: weighted draws that these are taken from.
        num_inner: draws of a row's own latents, where they are integrated out.

    Source: A. Vehtari, A. Gelman, J. Gabry, "Practical Bayesian model evaluation using leave-one-out
    cross-validation and WAIC", 2017, https://arxiv.org/abs/1507.04544.
    """

    num_draws: int = 2000
    method: str | DrawsPosterior = IMPORTANCE
    num_particles: int | None = None
    num_inner: int = 100

    def __post_init__(self) -> None:
        checks.check_arguments(CHECKS, vars(self))

    def figures(self, lineup: Lineup) -> Iterator[Figures]:
        found = {c.name: self._of(c) for c in lineup.candidates}
        _check_rows(lineup, found)
        reference = found[lineup.reference.name]
        rows = [found[name].rows for name in lineup.names]
        values = numbers(float(r.sum()) for r in rows)
        errors = tuple(paired_error(r) for r in rows)
        yield Figures(
            "elpd_loo",
            tuple(f"{v:.1f} ± {e:.1f}" for v, e in zip(values, errors, strict=True)),
            {"elpd_loo": values, "elpd_loo_se": errors},
            (
                "elpd_loo: the expected log predictive density of a new row, summed over rows, by "
                "leave-one-out; ± is its standard error over rows",
            ),
        )
        away = [r - reference.rows for r in rows]
        differences, dse = (
            numbers(float(d.sum()) + 0.0 for d in away),
            tuple(map(paired_error, away)),
        )
        yield Figures(
            "elpd difference",
            tuple(
                "0.0" if c is lineup.reference else f"{round(d, 1) + 0.0:.1f} ± {e:.1f}"
                for c, d, e in zip(lineup.candidates, differences, dse, strict=True)
            ),
            {"elpd_difference": differences, "elpd_dse": dse},
        )
        yield from _k_figures(lineup, found)

    def _of(self, candidate: Candidate) -> "RowScores":
        """Return log p of each row of the data given the other rows."""
        values = candidate.row_values
        if values is not None:
            return RowScores(values)
        if candidate.program is None:
            raise InputError(
                f"leave-one-out needs draws of the posterior, and of {candidate.name!r} only a joint "
                "evidence was given",
                subject=candidate.name,
                remedy="give the pair (program, data) in place of the evidence",
            )
        drawn = posterior_of(
            candidate,
            method=self.method,
            num_draws=self.num_draws,
            num_particles=self.num_particles,
        )
        seed = candidate.options.get("seed")
        try:
            scores = drawn.log_likelihood(num_inner=self.num_inner, seed=seed)
        except InputError as error:
            raise error.at(f"leave-one-out of {candidate.name!r}") from error
        scored = leave_one_out(scores, drawn.num_chains)
        return replace(scored, is_poor=bool(drawn.without_error.any()))


@dataclass(frozen=True)
class RowScores:
    """Hold log p(row | the other rows), and how far it can be trusted.

    Attributes:
        rows: log p of each row, ``rows |``, nats.
        pareto_k: the largest of a row; NaN where nothing was drawn.
        bad_k: above which it is too high.
        is_poor: whether the draws of the posterior cannot be trusted.
    """

    rows: Tensor
    pareto_k: float = math.nan
    bad_k: float = math.nan
    is_poor: bool = False


def leave_one_out(log_likelihood: Tensor, chains: int = 1) -> RowScores:
    """Return ArviZ's leave-one-out of each row, from log-likelihoods (draws, rows).

    Args:
        log_likelihood: of each row at each draw.
        chains: that follow one another in the draws.
    """
    scores = log_likelihood.detach().cpu().double()
    shaped = scores.reshape(chains, -1, scores.shape[-1]).numpy()
    groups = {"posterior": {"draw_number": shaped[..., 0]}, "log_likelihood": {"rows": shaped}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ArviZ's next version, and of k, which is a column
        import arviz

        data = inference_data(groups, {"rows": ["row"]}, {"row": np.arange(shaped.shape[-1])}, {})
        loo: Any = arviz.loo(data, pointwise=True)
    pointwise = loo.loo_i if hasattr(loo, "loo_i") else loo.elpd_i  # ArviZ 1.0 has other names
    rows, k = torch.as_tensor(np.asarray(pointwise)).double(), float(loo.pareto_k.max())
    return RowScores(rows, k, bad_k(len(scores)))


def _check_rows(lineup: Lineup, found: dict[str, RowScores]) -> None:
    expected = len(found[lineup.reference.name].rows)
    for name, scores in found.items():
        if len(scores.rows) != expected:
            raise InputError(
                f"leave-one-out leaves out {expected:,} rows of {lineup.reference.name!r} and "
                f"{len(scores.rows):,} of {name!r}",
                subject=name,
                expected="models that have the same rows: the outermost plate of their observed sites",
            )


def _k_figures(lineup: Lineup, found: dict[str, RowScores]) -> Iterator[Figures]:
    k = tuple(found[name].pareto_k for name in lineup.names)
    if all(map(math.isnan, k)):
        return
    bad = [name for name in lineup.names if found[name].pareto_k > found[name].bad_k]
    notes = []
    if bad:
        notes.append(
            f"leave-one-out of {quoted(bad)} is unreliable: the Pareto k of a row is too high"
        )
    if poor := [name for name in lineup.names if found[name].is_poor]:
        notes.append(
            f"a few weights decide the draws of the posterior of {quoted(poor)}, so its leave-one-out is "
            "unreliable: LOO(method='ais') or LOO(num_particles=...) draws better"
        )
    yield Figures(
        "k of LOO",
        tuple(NOTHING if math.isnan(x) else f"{x:.2f}" for x in k),
        {"loo_pareto_k": k},
        tuple(notes),
    )
