"""The evidence as a result: per unit, in nats, with its errors, diagnostics and certificate."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.psis import bad_k


@dataclass(frozen=True)
class Evidence:
    """Estimates of log p(x); every tensor is ``units |`` and, if not said otherwise, in nats.

    Attributes:
        log_evidence: log p-hat(x), with p-hat(x) the mean of K weights. Where that is unbiased, as by
            importance sampling (the IWAE bound at K), its expectation is at most log p(x).
        standard_error: Monte-Carlo standard error of ``log_evidence``: log p(x) lies within 1.96 of it in
            some 95% of repeats, heavy tails included (module ``standard_error``). NaN where nothing
            honest can be said, as a few weights decide the figure.
        ess: effective sample size (sum w)^2 / sum w^2, of K.
        pareto_k: shape of the weights' tail, which is too heavy for K weights above :attr:`bad_k`. NaN
            where K is too small to tell.
        smoothed: the Pareto-smoothed estimate.
        jackknife: ``log_evidence`` with its bias of order 1/K removed.
        bounds: the bound at 1, 10, 100, ... particles and K, from the same draws; of importance sampling
            it is the IWAE bound, and at 1 the ELBO.
        bounds_error: their Monte-Carlo standard errors.
        num_particles: K.
        unit: the plate the figures are per; None for one joint figure of all data.
        method: how the weights were got.
        is_unbiased: whether E[p-hat(x)] = p(x), which :meth:`certificate` rests on.
        is_exact: whether nothing was estimated at all.
        values_per_unit: how many observed values a unit has; None where units differ.
        upper: from above, where the method has it: of ``simulated`` data an upper bound, in expectation;
            of given data an estimate of one. Of a unit's K chains, which share one draw of the posterior.
        upper_error: its Monte-Carlo standard error, which does not see how that draw varies;
            :attr:`mean_gap_error` does.
        simulated: the data that the figures are of, as the program takes them, where the model itself
            has drawn them.
        indicative: further figures, by name, which bound nothing.
        notes: what one should know besides, in sentences.

    Source: Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", 2015,
    https://arxiv.org/abs/1509.00519.
    """

    log_evidence: Tensor
    standard_error: Tensor
    ess: Tensor
    pareto_k: Tensor
    num_particles: int
    unit: str | None
    method: str
    is_unbiased: bool
    smoothed: Tensor | None = None
    jackknife: Tensor | None = None
    bounds: Mapping[int, Tensor] = field(default_factory=dict)
    bounds_error: Mapping[int, Tensor] = field(default_factory=dict)
    is_exact: bool = False
    values_per_unit: int | None = None
    upper: Tensor | None = None
    upper_error: Tensor | None = None
    simulated: tuple[Tensor, ...] = ()
    indicative: Mapping[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, figures: Mapping[str, Tensor], **rest: Any) -> "Evidence":
        """From figures by the names of the fields; several of one field go by ``field.key``."""
        several: dict[str, dict[str, Tensor]] = {}
        for name, figure in figures.items():
            field_name, _, key = name.partition(".")
            several.setdefault(field_name, {})[key] = figure
        own = {f.name for f in fields(cls)}
        single: dict[str, Any] = {n: f[""] for n, f in several.items() if "" in f and n in own}
        for name in ("bounds", "bounds_error"):
            single[name] = {int(k): f for k, f in several.get(name, {}).items()}
        return cls(
            **single,
            simulated=tuple(several.get("simulated", {}).values()),
            indicative=several.get("indicative", {}),
            **rest,
        )

    @property
    def units(self) -> int:
        return len(self.log_evidence)

    @property
    def mean(self) -> float:
        """Mean log-evidence per unit."""
        return float(self.log_evidence.mean())

    @property
    def mean_standard_error(self) -> float:
        """Monte-Carlo standard error of :attr:`mean`: what more particles make smaller.

        Units are independent, so theirs are added in squares. But a log of a mean is biased, by
        -e^2 / 2 to second order, which does not average out over units: the mean of that is added, in
        squares too. NaN where a unit has none.
        """
        return mean_error(self.standard_error)

    @property
    def sampling_error(self) -> float:
        """Standard error of :attr:`mean` as an estimate for the population of the units: what more
        data make smaller. NaN for a single unit."""
        if self.units < 2:
            return math.nan
        return float(self.log_evidence.std() / math.sqrt(self.units))

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
        """Pareto k from which on K weights are too few: min(1 - 1 / log10 K, 0.7)."""
        return bad_k(self.num_particles)

    @property
    def without_error(self) -> Tensor:
        """Which units have a figure and no honest error; bool, ``units |``."""
        return self.standard_error.isnan() & self.log_evidence.isfinite()

    @property
    def bad_units(self) -> int:
        """How many units have a figure and no honest error."""
        return int(self.without_error.sum())

    @property
    def gap(self) -> Tensor:
        """``upper`` minus ``log_evidence``; a unit's own may be negative, by chance.

        :raises InputError: the method has nothing to say from above.
        """
        if self.upper is None:
            raise InputError(
                f"{self.method} says nothing from above: use method='sandwich' or 'bidirectional'"
            )
        return self.upper - self.log_evidence

    @property
    def mean_gap(self) -> float:
        """On simulated data its expectation bounds how far, on average, either side is off."""
        return float(self.gap.mean())

    @property
    def mean_gap_error(self) -> float:
        """Standard error of :attr:`mean_gap`, from how the gaps of the units, which are independent, vary.

        For a single unit, from the Monte-Carlo errors of its two bounds.
        """
        if self.units > 1:
            return float(self.gap.std() / math.sqrt(self.units))
        return math.hypot(self.mean_standard_error, _error(self.upper_error))

    def interval(self, delta: float = 0.05) -> tuple[float, float]:
        """Two numbers that hold the mean log p(x) of these units between them, with probability 1 - delta.

        Nothing is assumed of the weights: forward weights are unbiased for p(x) and reverse ones for
        1 / p(x), independently for each unit, so by Markov's inequality either mean is on its wrong side by
        more than log(2 / delta) / units with probability at most delta / 2. NaN but on simulated data:
        elsewhere the reverse weights are not unbiased.
        """
        _check_delta(delta)
        if not self.simulated:
            return math.nan, math.nan
        slack = math.log(2 / delta) / self.units
        return self.mean - slack, _mean(self.upper) + slack

    def certificate(self, delta: float = 0.05) -> float:
        """A lower bound on the mean log p(x) of these units that holds with probability 1 - delta.

        Whatever the weights' tails are: p-hat / p has expectation 1 for each unit, independently, so
        by Markov's inequality sum_n log(p-hat_n / p_n) exceeds log(1 / delta) with probability at most
        delta. NaN where the estimate is not unbiased; the mean itself where it is exact.

        >>> evidence = Evidence(*[torch.zeros(1000)] * 4, 10, "data", "importance", True)
        >>> round(evidence.certificate(0.05), 4)
        -0.003
        """
        _check_delta(delta)
        if self.is_exact:
            return self.mean
        return self.mean - math.log(1 / delta) / self.units if self.is_unbiased else math.nan

    def to_dict(self) -> dict[str, Any]:
        """The figures of the whole set, in nats, as JSON takes them (no NaN: null)."""
        figures = {
            "mean": self.mean,
            "standard_error": self.mean_standard_error,
            "sampling_error": self.sampling_error,
            "total": self.total,
            "bits_per_dimension": self.bits_per_dimension,
            "certificate_95": self.certificate(0.05),
            "smoothed": _mean(self.smoothed),
            "jackknife": _mean(self.jackknife),
            "upper": _mean(self.upper),
            "upper_standard_error": _error(self.upper_error),
            "median_ess": float(self.ess.nanmedian()),
        }
        if self.upper is not None:
            figures |= {"gap": self.mean_gap, "gap_standard_error": self.mean_gap_error}
        from pyro_vae.inference.evidence.report import warnings

        return {
            **{name: _finite(value) for name, value in figures.items()},
            "interval_95": [_finite(end) for end in self.interval(0.05)],
            "indicative": {name: _finite(_mean(value)) for name, value in self.indicative.items()},
            "bounds": {str(k): _finite(_mean(bound)) for k, bound in self.bounds.items()},
            "bad_pareto_k": None if self.pareto_k.isnan().all() else self.bad_units,
            "units_without_error": self.bad_units,
            "units": self.units,
            "num_particles": self.num_particles,
            "unit": self.unit,
            "method": self.method,
            "is_exact": self.is_exact,
            "simulated": bool(self.simulated),
            "notes": list(self.notes),
            "warnings": warnings(self),
        }

    def to_arviz(self) -> Any:
        """For ArviZ: an ``InferenceData``, and from ArviZ 1.0 on a ``DataTree``.

        ``log_likelihood`` holds ``log_evidence``, ``sample_stats`` the errors, diagnostics and bounds there
        are, all (chain, draw, unit) with one chain and one draw; how they were got is in ``attrs``.

        >>> evidence = Evidence(*[torch.zeros(5)] * 4, 10, "data", "importance", True)
        >>> dict(evidence.to_arviz()["log_likelihood"].sizes)
        {'chain': 1, 'draw': 1, 'unit': 5}
        """
        from pyro_vae.inference.evidence.arviz import to_arviz

        return to_arviz(self)

    def summary(self) -> str:
        """A few lines, as one would put them into a paper, and what stands against the figures."""
        from pyro_vae.inference.evidence.report import summary

        return summary(self)


def mean_error(errors: Tensor) -> float:
    """Of the mean of independent logs of unbiased estimates, from their standard errors."""
    return math.hypot(_error(errors), float(errors.square().mean()) / 2)


def _check_delta(delta: float) -> None:
    if not isinstance(delta, int | float) or not 0 < delta < 1:
        raise InputError(f"delta must lie between 0 and 1, not {delta!r}")


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _mean(values: Tensor | None) -> float:
    return math.nan if values is None else float(values.mean())


def _error(errors: Tensor | None) -> float:
    return math.nan if errors is None else float(errors.square().sum().sqrt() / len(errors))
