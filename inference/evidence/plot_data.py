"""The data of an evidence's picture, and their words."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyro_vae.data import batches
from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.plots.images import is_image_batch
from pyro_vae.program.generators import generators_as_found

EXTREMES = 8  # units shown at either end


@dataclass(frozen=True)
class PlotData:
    """Hold the units with a finite evidence, and those at either end.

    Attributes:
        whole: the evidence of all units.
        finite: that of the units with a finite figure.
        numbers: of these units.
        omitted: the numbers of the others.
        ends: the places in ``finite`` of the lowest and the highest.
        images: of these, by place, (C, H, W).
    """

    whole: Evidence
    finite: Evidence
    numbers: Tensor
    omitted: Tensor
    ends: Mapping[str, Sequence[int]]
    images: Mapping[int, Tensor]

    @classmethod
    def of(cls, evidence: Evidence, numbers: Tensor, data: Any) -> "PlotData":
        """Take the units apart; see :func:`plot_evidence`."""
        rows = None if data is None else batches(data)
        if rows is not None and rows.num_units != evidence.num_units:
            is_joint = evidence.unit is None
            raise InputError(
                f"the data have {rows.num_units:,} rows",
                subject="data",
                expected=f"a row for each of {evidence.num_units:,} units",
                remedy="leave the data out of one joint figure" if is_joint else None,
            )
        is_finite = evidence.log_evidence.cpu().isfinite()
        units = is_finite.nonzero().squeeze(-1)
        if not len(units):
            raise InputError("no unit has a finite evidence to draw", subject="evidence")
        finite = evidence.on_host().select(units)
        order = finite.log_evidence.argsort(stable=True).tolist()
        num_shown = min(EXTREMES, len(order) // 2)
        ends = (
            {"lowest": order[:num_shown], "highest": order[::-1][:num_shown]} if num_shown else {}
        )
        places = [place for end in ends.values() for place in end]
        images: Mapping[int, Tensor] = {}
        if rows is not None and places:
            with generators_as_found():  # reading a split may draw its values
                ((x, *_),) = rows.take(units[places], len(places))
            images = dict(zip(places, x, strict=True)) if is_image_batch(x) else {}
        return cls(evidence, finite, numbers[units], numbers[~is_finite], ends, images)

    @property
    def digits(self) -> int:
        """The digits of a mean: as many as its error has, but three at least."""
        error = 0.0 if self.finite.is_exact else self.finite.mean_standard_error
        return max(3, -math.floor(math.log10(error))) if error > 0 else 3


def describe_k(k: Tensor, threshold: float) -> list[str]:
    """Return lines on the share of units above the threshold, and on those without a finite k."""
    bad, flat, undefined = (
        int((k > threshold).sum()),
        int((k == -math.inf).sum()),
        int(k.isnan().sum()),
    )
    if undefined == len(k):
        return ["Pareto k: unknown, from too few weights"]
    if len(k) == 1:
        return [f"Pareto k: {signed(float(k), 2)}{f', above {threshold:.2g}' if bad else ''}"]
    others = [
        *([f"{flat:,} with a flat tail (\N{MINUS SIGN}∞)"] if flat else []),
        *([f"{undefined:,} unknown, from too few weights"] if undefined else []),
    ]
    share = f"Pareto k: {bad / len(k):.1%} of {count(len(k), 'unit')} above {threshold:.2g}"
    return [share, *([f"not drawn: {', '.join(others)}"] if others else [])]


def signed(value: float, digits: int) -> str:
    """Return a number with the typographic minus and infinity signs."""
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}").replace("inf", "∞")


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
