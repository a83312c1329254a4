"""The evidence as a result: per unit, in nats, with its errors, diagnostics and certificate."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.psis import bad_k
from pyro_vae.inference.evidence.unit_estimates import UnitEstimates


@dataclass(frozen=True)
class Evidence(UnitEstimates):
    """Hold estimates of log p(x), their errors and diagnostics, and how they were made.

    The tensors are those of :class:`pyro_vae.inference.evidence.unit_estimates.UnitEstimates`: each
    ``units |`` and, unless noted, in nats.

    Attributes:
        log_evidence: log p-hat(x), with p-hat(x) the mean of K weights.
        standard_error: its Monte-Carlo standard error; NaN where a few weights decide the figure.
        ess: effective sample size (sum w)^2 / sum w^2, of K.
        pareto_k: shape of the weights' tail, which is too heavy for K weights above :attr:`bad_k`.
        num_particles: K.
        unit: the plate of the units; None for one joint figure of all data.
        method: how the weights were made.
        is_unbiased: whether E[p-hat(x)] = p(x), which :meth:`certificate` rests on.
        is_exact: whether the figures are not estimates but exact.
        values_per_unit: the number of observed values of a unit; None where units differ.
        notes: further facts that the reader should know, in sentences.

    Source: Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", 2015,
    https://arxiv.org/abs/1509.00519.
    """

    num_particles: int
    unit: str | None
    method: str
    is_unbiased: bool
    is_exact: bool = False
    values_per_unit: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def mean(self) -> float:
        """Mean log-evidence per unit."""
        return float(self.log_evidence.mean())

    @property
    def mean_standard_error(self) -> float:
        """Monte-Carlo standard error of :attr:`mean`, which more particles make smaller.

        Units are independent, so the squares of their errors add up. But a log of a mean is biased, by
        -e^2 / 2 to second order, which does not average out over units: the square of the mean bias is
        added. NaN where a unit has no error.
        """
        return mean_error(self.standard_error)

    @property
    def sampling_error(self) -> float:
        """Standard error of :attr:`mean` as an estimate for the population of the units.

        More data make it smaller. NaN for a single unit.
        """
        if self.num_units < 2:
            return math.nan
        return float(self.log_evidence.std() / math.sqrt(self.num_units))

    @property
    def total(self) -> float:
        """Log-evidence of all units together."""
        return float(self.log_evidence.sum())

    @property
    def bits_per_dimension(self) -> float:
        """-:attr:`mean` / (values per unit * log 2)."""
        return (
            -self.mean / (self.values_per_unit * math.log(2)) if self.values_per_unit else math.nan
        )

    @property
    def bad_k(self) -> float:
        """Pareto k above which K weights are too few: min(1 - 1 / log10 K, 0.7)."""
        return bad_k(self.num_particles)

    @property
    def bad_units(self) -> int:
        """How many units have a figure, but no error that can be trusted."""
        return int(self.without_error.sum())

    @property
    def gap(self) -> Tensor:
        """``upper`` minus ``log_evidence``; that of a unit may be negative, by chance.

        Raises:
            InputError: the method gives no ``upper``.
        """
        if self.upper is None:
            raise InputError(
                f"{self.method} gives no upper figure",
                subject="upper",
                remedy="use method='sandwich' or 'bidirectional'",
            )
        return self.upper - self.log_evidence

    @property
    def mean_gap(self) -> float:
        """Mean of :attr:`gap`; on simulated data its expectation bounds the mean error of either side."""
        return float(self.gap.mean())

    @property
    def mean_gap_error(self) -> float:
        """Standard error of :attr:`mean_gap`, from the spread of the units' independent gaps.

        For a single unit, from the Monte-Carlo errors of its two bounds.
        """
        if self.num_units > 1:
            return float(self.gap.std() / math.sqrt(self.num_units))
        return math.hypot(self.mean_standard_error, _error(self.upper_error))

    def interval(self, delta: float = 0.05) -> tuple[float, float]:
        """Return an interval for the mean log p(x) of these units, with probability 1 - delta.

        It assumes nothing of the weights: forward weights are unbiased for p(x) and reverse ones for
        1 / p(x), independently for each unit, so by Markov's inequality either mean is on its wrong side by
        more than log(2 / delta) / units with probability at most delta / 2. NaN unless the data are
        simulated, for otherwise the reverse weights are biased.
        """
        _check_delta(delta)
        if not self.simulated:
            return math.nan, math.nan
        slack = math.log(2 / delta) / self.num_units
        return self.mean - slack, _mean(self.upper) + slack

    def certificate(self, delta: float = 0.05) -> float:
        """Return a lower bound on the mean log p(x) of these units, with probability 1 - delta.

        It holds whatever the weights' tails are: for each unit, p-hat / p has expectation 1, independently,
        so by Markov's inequality sum_n log(p-hat_n / p_n) exceeds log(1 / delta) with probability at most
        delta. NaN where the estimate is not unbiased; the mean itself where it is exact.

        >>> evidence = Evidence(*[torch.zeros(1000)] * 4, 10, "data", "importance", True)
        >>> round(evidence.certificate(0.05), 4)
        -0.003
        """
        _check_delta(delta)
        if self.is_exact:
            return self.mean
        return self.mean - math.log(1 / delta) / self.num_units if self.is_unbiased else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Return the figures of the whole set, in nats, as JSON takes them (null in place of NaN)."""
        figures = {
            "mean": self.mean,
            "standard_error": self.mean_standard_error,
            "sampling_error": self.sampling_error,
            "total": self.total,
            "total_standard_error": self.mean_standard_error * self.num_units,
            "bits_per_dimension": self.bits_per_dimension,
            "certificate_95": self.certificate(0.05),
            "smoothed": _mean(self.smoothed),
            "jackknife": _mean(self.jackknife),
            "upper": _mean(self.upper),
            "upper_standard_error": _error(self.upper_error),
            "median_ess": float(self.ess.nanmedian()),
            "largest_pareto_k": _largest(self.pareto_k),
        }
        if self.upper is not None:
            figures |= {"gap": self.mean_gap, "gap_standard_error": self.mean_gap_error}
        from pyro_vae.inference.evidence.report import warning_messages

        return {
            **{name: _finite(value) for name, value in figures.items()},
            "interval_95": [_finite(end) for end in self.interval(0.05)],
            "indicative": {name: _finite(_mean(value)) for name, value in self.indicative.items()},
            "bounds": {str(k): _finite(_mean(bound)) for k, bound in self.bounds.items()},
            "bad_pareto_k": None if self.pareto_k.isnan().all() else self.bad_units,
            "units_without_error": self.bad_units,
            "num_units": self.num_units,
            "num_particles": self.num_particles,
            "unit": self.unit,
            "method": self.method,
            "is_exact": self.is_exact,
            "simulated": bool(self.simulated),
            "notes": list(self.notes),
            "warnings": warning_messages(self),
        }

    def to_arviz(self) -> Any:
        """Return an ``InferenceData`` of ArviZ, from ArviZ 1.0 on a ``DataTree``.

        ``sample_stats`` holds the figures, errors and diagnostics of each unit, (chain, draw, unit) with
        one chain and one draw; ``attrs`` holds the method and its settings. :func:`pyro_vae.posterior`
        has a log-likelihood at each of many draws, which LOO takes.

        >>> evidence = Evidence(*[torch.zeros(5)] * 4, 10, "data", "importance", True)
        >>> dict(evidence.to_arviz()["sample_stats"].sizes)
        {'chain': 1, 'draw': 1, 'unit': 5}
        """
        from pyro_vae.inference.evidence.arviz import to_arviz

        return to_arviz(self)

    def summary(self) -> str:
        """Return a few lines for a paper, and warnings about the figures."""
        from pyro_vae.inference.evidence.report import summary

        return summary(self)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        from pyro_vae.inference.evidence.report import in_a_line

        return f"Evidence({in_a_line(self)})"

    def _repr_html_(self) -> str:
        from pyro_vae.inference.evidence.report import html

        return html(self)


def mean_error(errors: Tensor) -> float:
    """Return that of the mean of independent logs of unbiased estimates, from their standard errors."""
    return math.hypot(_error(errors), float(errors.square().mean()) / 2)


def _check_delta(delta: float) -> None:
    if not isinstance(delta, int | float) or not 0 < delta < 1:
        raise InputError(
            f"delta must lie between 0 and 1, not {delta!r}",
            subject="delta",
            expected="between 0 and 1",
            remedy="pass delta=0.05, say",
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _largest(values: Tensor) -> float:
    known = values[~values.isnan()]
    return float(known.max()) if len(known) else math.nan


def _mean(values: Tensor | None) -> float:
    return math.nan if values is None else float(values.mean())


def _error(errors: Tensor | None) -> float:
    return math.nan if errors is None else float(errors.square().sum().sqrt() / len(errors))
