"""Models compared over several fits of each: the spread over seeds, and who is better beyond noise."""

import math
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy import stats
from scipy.special import stdtrit
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.comparison.column import NOTHING, Figures, with_error
from pyro_vae.inference.comparison.lineup import paired_error
from pyro_vae.inference.comparison.result import Comparison, finite, laid_out
from pyro_vae.inference.evidence.report import WIDTH

RELATIVE = {  # what is against the reference of each comparison, and is not averaged
    "",
    "difference",
    "difference_sampling_error",
    "bayes_factor",
    "probability",
    "prior",
    "mse_difference",
    "elpd_difference",
}
LEVEL = 0.05  # of what counts as beyond noise
NOTE = (
    "± is the standard deviation over seeds, with the draws of the estimates in it; * marks a figure that "
    "differs from the reference's by more than this noise (Welch's test at 5 %)"
)


@dataclass(frozen=True)
class Gap:
    """Hold how far a model's log p(data) is from the reference's, as a mean over seeds.

    Attributes:
        name: of the model.
        value: nats, of all data.
        error: its standard error: of both models' fits and draws, and of the rows.
        low: with ``high``, an interval of 95 %.
        high: see there.
    """

    name: str
    value: float
    error: float
    low: float
    high: float

    @property
    def is_beyond_noise(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0

    def in_words(self, reference: str) -> str:
        """Return who is better, or that this is not known."""
        interval = f"{self.low:.1f} to {self.high:.1f} nats"
        if not self.is_beyond_noise:
            return f"{self.name!r} and {reference!r} do not differ beyond noise ({interval})"
        better, worse = (self.name, reference) if self.value > 0 else (reference, self.name)
        return f"{better!r} is better than {worse!r} beyond noise ({interval})"


@dataclass(frozen=True)
class OverSeeds:
    """Hold comparisons of the same models on the same rows, a comparison for each seed of the fits.

    The difference of two models is the mean over seeds of the difference of log p(data). Its variance is
    s_1^2 / S + s_2^2 / S + r^2: s is the standard deviation of each model's log p(data) over S fits, and r
    the sampling error over rows of the mean difference, paired by row. Its interval of 95 % is Student's,
    with the degrees of freedom of Welch and Satterthwaite.

    Args:
        comparisons: of the same models, against the same reference, each of other fits.

    Raises:
        InputError: there is only one, or they are of other models or references.

    Source: B. L. Welch, "The generalization of 'Student's' problem when several different population
    variances are involved", Biometrika 34, 1947.

    >>> from pyro_vae import compare
    >>> from pyro_vae.models import FactorAnalysis
    >>> x, by_seed = torch.randn(50, 3), []
    >>> for seed in range(3):
    ...     models = {f"FA {n}": FactorAnalysis((3,), n) for n in (1, 2)}  # to be fitted
    ...     by_seed.append(compare(models, x, method="exact", reference="FA 1", seed=seed))
    >>> [gap.name for gap in OverSeeds(by_seed).gaps]
    ['FA 2']
    """

    comparisons: Sequence[Comparison]

    def __post_init__(self) -> None:
        if len(self.comparisons) < 2:
            raise InputError(
                "a spread over seeds needs two fits of each model, or more", subject="comparisons"
            )
        first = self.comparisons[0]
        for other in self.comparisons[1:]:
            if set(other.lineup.names) != set(first.lineup.names):
                raise InputError(
                    f"one comparison is of {', '.join(first.lineup.names)} and another of "
                    f"{', '.join(other.lineup.names)}",
                    subject="comparisons",
                    expected="the same models in all",
                )
            if other.lineup.reference.name != self.reference:
                raise InputError(
                    f"one comparison is against {self.reference!r} and another against "
                    f"{other.lineup.reference.name!r}",
                    subject="comparisons",
                    remedy="pass reference= to each",
                )

    @property
    def reference(self) -> str:
        """The model that the others are compared with."""
        return self.comparisons[0].lineup.reference.name

    @property
    def caption(self) -> str:
        """What the table is of, in a sentence."""
        first, seeds = self.comparisons[0], len(self.comparisons)
        what = first.caption.partition(". ")[0]
        return f"{what}: means over {seeds} seeds of the fits, against {self.reference!r}"

    @property
    def names(self) -> list[str]:
        """The models, the best first."""
        totals = {
            name: float(self._totals(name).mean()) for name in self.comparisons[0].lineup.names
        }
        return sorted(
            totals, key=lambda name: math.inf if math.isnan(totals[name]) else -totals[name]
        )

    @property
    def gaps(self) -> list[Gap]:
        """How far each model is from the reference, in the order of the table."""
        others = (name for name in self.names if name != self.reference)
        return [self._gap(name) for name in others if not self._candidates(name)[0].lacks]

    def _candidates(self, name: str) -> list[Any]:
        return [{c.name: c for c in of.lineup.candidates}[name] for of in self.comparisons]

    def _totals(self, name: str) -> Tensor:
        """log p(data) of a model under each seed, nats."""
        return torch.tensor([c.total for c in self._candidates(name)], dtype=torch.float64)

    def _gap(self, name: str) -> Gap:
        ours, others = self._totals(name), self._totals(self.reference)
        count, rows = len(ours), self._row_differences(name)
        parts = [(float(x.var()) / count, count - 1) for x in (ours, others)]
        if rows is not None:
            parts.append((paired_error(rows) ** 2, len(rows) - 1))
        variance = sum(part for part, _ in parts)
        freedom = variance**2 / sum(part**2 / df for part, df in parts) if variance else math.inf
        value, error = float((ours - others).mean()), math.sqrt(variance)
        reach = error * float(stdtrit(freedom, 1 - LEVEL / 2)) if variance else 0.0
        return Gap(name, value, error, value - reach, value + reach)

    def _row_differences(self, name: str) -> Tensor | None:
        """Return the mean over seeds of each row's difference; None where figures are joint."""
        pairs = zip(self._candidates(name), self._candidates(self.reference), strict=True)
        rows = [(one.row_values, other.row_values) for one, other in pairs]
        differences = [
            a - b for a, b in rows if a is not None and b is not None and len(a) == len(b)
        ]
        return torch.stack(differences).mean(0) if len(differences) == len(rows) else None

    def to_frame(self) -> Any:
        """Return mean and standard deviation over seeds of each figure, a row for each model."""
        import pandas as pd

        frames = pd.concat([of.to_frame() for of in self.comparisons])
        mean, sd = (
            getattr(frames.groupby(level=0), kind)().loc[self.names] for kind in ("mean", "std")
        )
        for name in mean:
            mean[f"{name}_sd"] = sd[name]
        gaps = {gap.name: gap for gap in self.gaps}
        for part in ("value", "error", "low", "high"):
            none = {self.reference: 0.0}
            mean[f"gap_{part}"] = [
                getattr(gaps.get(n), part, none.get(n, math.nan)) for n in self.names
            ]
        return mean

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON takes them, with null in place of NaN and infinity."""
        rows = zip(self.names, self.to_frame().to_dict("records"), strict=True)
        return {
            "reference": self.reference,
            "seeds": len(self.comparisons),
            "models": {name: {k: finite(v) for k, v in row.items()} for name, row in rows},
            "notes": list(self.notes),
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """Who is better beyond noise, and what the reader should know."""
        words = [gap.in_words(self.reference) for gap in self.gaps]
        shown = (c for of in self.comparisons for c in of.columns if _key(c) not in RELATIVE)
        of_each = (note for column in shown for note in column.notes)
        return tuple(dict.fromkeys((*words, NOTE, *of_each, *self.comparisons[0].checks)))

    def __str__(self) -> str:
        table = [["", *self.names], *self._columns()]
        notes = [textwrap.fill(f"note: {n}", WIDTH, break_on_hyphens=False) for n in self.notes]
        return "\n".join([textwrap.fill(self.caption, WIDTH), "", *laid_out(table), "", *notes])

    def _columns(self) -> Iterator[list[str]]:
        """Yield each column of the table in print, its heading first."""
        gaps = {gap.name: with_error(gap.value, gap.error) for gap in self.gaps}
        yield ["difference", *(gaps.get(name, NOTHING) for name in self.names)]
        for column in self.comparisons[0].columns:
            key = _key(column)
            if key not in RELATIVE and all(key in map(_key, of.columns) for of in self.comparisons):
                yield [column.heading, *(self._cell(name, key) for name in self.names)]

    def _cell(self, name: str, key: str) -> str:
        ours, others = (self._figures(n, key) for n in (name, self.reference))
        known = ours[ours.isfinite()]
        if not len(known):
            return NOTHING
        spread = float(known.std()) if len(known) > 1 else math.nan
        return with_error(float(known.mean()), spread) + " *" * _differ(ours, others)

    def _figures(self, name: str, key: str) -> Tensor:
        """Return a figure of a model under each seed."""
        values = []
        for of in self.comparisons:
            numbers = next(column.numbers for column in of.columns if _key(column) == key)
            values.append(float(numbers[key][of.lineup.names.index(name)]))
        return torch.tensor(values, dtype=torch.float64)


def _key(column: Figures) -> str:
    """Return the name of the number that a column shows; "" where it shows none."""
    return next(iter(column.numbers), "")


def _differ(ours: Tensor, others: Tensor) -> bool:
    """Return whether the means of two samples differ by more than their noise."""
    a, b = (x[x.isfinite()] for x in (ours, others))
    if min(len(a), len(b)) < 2 or float(a.std()) + float(b.std()) == 0:
        return False  # no noise: the number of parameters, say
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # values that hardly vary
        return bool(stats.ttest_ind(a, b, equal_var=False).pvalue < LEVEL)
