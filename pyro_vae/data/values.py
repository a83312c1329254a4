"""The values that a model sees, and how they come from the stored ones."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from pyro_vae.data.rows import LazyRows, Rows, chunks
from pyro_vae.errors import InputError

FEWEST_LEVELS = 17  # of grey values as floats: fractions such as 1/5 are k/255, too
MODERATE = 1e-12, 1e12  # standard deviations with which float32 can compute densities


@dataclass(frozen=True)
class ValueRange:
    """Describe the values that a model sees: all in [low, high]; ``levels`` of them, or whole, or real.

    Missing values, which are NaN, do not count. Grey images with L levels are k/(L-1), k = 0..L-1.

    >>> print(ValueRange(0.0, 1.0, 2), "|", ValueRange(0.0, 1.0, 17), "|", ValueRange(-1.5, 2.0))
    binary | 17 levels in [0, 1] | real values in [-1.5, 2]
    """

    low: float
    high: float
    levels: int | None = None
    is_whole: bool = False

    @property
    def in_unit_interval(self) -> bool:
        """Whether every value lies in [0, 1]."""
        return self.low >= 0 and self.high <= 1

    def __str__(self) -> str:
        if self.levels == 2:
            return "binary"
        kind = "whole numbers" if self.is_whole else "real values"
        kind = kind if self.levels is None else f"{self.levels} levels"
        return f"{kind} in [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True, eq=False)
class Encoding:
    """Turn stored values into those that a model sees: ``(x / unit - location) / scale``, perhaps drawn.

    ``unit`` is the stored value of 1 (255 for 8-bit pixels). ``location`` and ``scale`` have the event's
    shape and are None unless the set is centred or standardised. With ``stochastic`` the result is a new
    Bernoulli draw at each call, from the global generator of the values' device.

    >>> Encoding(unit=255.0)(torch.tensor([[0, 51, 255]], dtype=torch.uint8))
    tensor([[0.0000, 0.2000, 1.0000]])
    """

    unit: float = 1.0
    location: Tensor | None = None  # | event
    scale: Tensor | None = None  # | event
    stochastic: bool = False

    def __call__(self, x: Tensor) -> Tensor:  # (B | event) -> (B | event), of the default dtype
        dtype = torch.get_default_dtype()
        # float64 is stored where float32 would lose the differences between rows
        x = x if x.is_floating_point() else x.to(dtype)
        if self.unit != 1:
            x = x / self.unit
        if self.location is not None and self.scale is not None:
            x = (x - self.location) / self.scale
        # a comparison takes half the time of torch.bernoulli on the CPU
        return (torch.rand_like(x) < x if self.stochastic else x).to(dtype)

    def invert(self, x: Tensor) -> Tensor:
        """Undo the centring or standardisation of a model's values, in their precision."""
        if self.location is None or self.scale is None:
            return x
        return x * self.scale.to(x.device) + self.location.to(x.device)

    def to(self, device: torch.device) -> "Encoding":
        """Return the encoding for values on ``device``."""
        if self.location is None or self.scale is None:
            return self
        return replace(self, location=self.location.to(device), scale=self.scale.to(device))


def detect_levels(
    parts: Mapping[str, Rows], levels: int | None = None, is_table: bool = False
) -> tuple[dict[str, Rows], Encoding, int | None]:
    """Return the rows of all splits, as uint8 where that is exact, their encoding, their number of levels.

    Values 0 and 1 only (or 0 and 255, of uint8) are binary. uint8 is k/255, and so is a float that equals
    k/255, if rows have the shape of images or 17 or more levels. Everything else is real, and in a table
    all but 0 and 1. Where a value is missing, all are stored as they are.

    Args:
        parts: the rows of each split.
        levels: their number, where it is known.
        is_table: whether rows are those of a table.
    """
    if levels is not None:
        return dict(parts), Encoding(unit=levels - 1.0), levels
    rows = list(parts.values())
    if any(isinstance(x, LazyRows) for x in rows):
        return dict(parts), Encoding(unit=255.0), 256
    if all(x.dtype == torch.uint8 for x in rows):
        if all(_holds_only(x, 0, 1) for x in rows):
            return dict(parts), Encoding(), 2
        if all(_holds_only(x, 0, 255) for x in rows):
            return _eight_bit(parts, 1 / 255), Encoding(), 2
        return dict(parts), Encoding(unit=255.0), 256
    missing = any(map(num_missing, rows))
    if all(_holds_only(x, 0, 1) for x in rows):
        return (dict(parts) if missing else _eight_bit(parts, 1)), Encoding(), 2
    are_shaped = len(rows[0].shape) > 2  # as images are
    grey = not is_table and all(map(_is_eight_bit, rows))
    if grey and (are_shaped or _num_levels(rows) >= FEWEST_LEVELS):
        if missing:
            return dict(parts), Encoding(), 256
        return _eight_bit(parts, 255), Encoding(unit=255.0), 256
    return dict(parts), Encoding(), None


def num_missing(x: Rows) -> int:
    """Return how many values are NaN."""
    return sum(int(c.isnan().sum()) for c in chunks(x)) if x.dtype.is_floating_point else 0


def filled_in(x: Tensor, known: Tensor) -> Tensor:
    """Return rows ``B | event`` with a value of one of the ``known`` rows in place of each missing one.

    >>> filled_in(torch.tensor([[torch.nan, 3.0]]), torch.tensor([[torch.nan, 1.0], [2.0, 1.0]]))
    tensor([[2., 3.]])
    """
    first = (~known.isnan()).int().argmax(0, keepdim=True)
    return torch.where(x.isnan(), known.gather(0, first), x)


def _holds_only(x: Rows, low: int, high: int) -> bool:
    return all(bool(((c == low) | (c == high) | c.isnan()).all()) for c in chunks(x))


def _is_eight_bit(x: Rows) -> bool:
    """Return whether each value is missing or exactly a k/255, as division in float32 gives it."""
    return all(
        bool((((c * 255).round().clamp(0, 255) / 255 == c) | c.isnan()).all())
        for c in map(Tensor.float, chunks(x))
    )


def _num_levels(parts: Iterable[Rows]) -> int:
    """Return how many of the values k/255 occur."""
    occurs = torch.zeros(256, dtype=torch.bool)
    for chunk in (c for x in parts for c in chunks(x)):
        occurs[(chunk[~chunk.isnan()] * 255).round().long()] = True
    return int(occurs.sum())


def _eight_bit(parts: Mapping[str, Rows], factor: float) -> dict[str, Rows]:
    return {
        name: torch.cat([(c * factor).round().to(torch.uint8) for c in chunks(x)])
        for name, x in parts.items()
    }


def lost_in_float32(x: Rows) -> Tensor:
    """Return for which elements, ``| event``, float32 would lose the differences between rows."""
    if x.dtype != torch.float64:
        return torch.zeros(x.shape[1:], dtype=torch.bool)
    low, high = (
        torch.full(x.shape[1:], end, dtype=torch.float64) for end in (torch.inf, -torch.inf)
    )
    error = torch.zeros_like(low)
    for y in chunks(x):
        low, high = low.minimum(_minimum(y)), high.maximum(_maximum(y))
        error = error.maximum(_maximum((y.float().double() - y).abs()))
    return (high > low) & (error > 1e-5 * (high - low))


def centred_encoding(x: Rows, encoding: Encoding, which: Tensor) -> Encoding:
    """Return ``encoding`` followed by subtracting the mean of ``x``, which leaves densities as they are.

    It divides by the standard deviation only where float32 could not hold the square of its inverse.
    """
    standardised = standardised_encoding(x, encoding, which)
    assert standardised.scale is not None
    is_extreme = (standardised.scale < MODERATE[0]) | (standardised.scale > MODERATE[1])
    return replace(standardised, scale=torch.where(is_extreme, standardised.scale, 1.0))


def standardised_encoding(x: Rows, encoding: Encoding, which: Tensor) -> Encoding:
    """Return ``encoding`` followed by subtracting the mean of ``x`` and dividing by its standard deviation.

    Both are per element of the event, over the n rows that have it (the variance divides by n); an
    element that never varies has scale 1. Elements other than ``which`` (| event) are not changed.

    Raises:
        InputError: values are too large.
    """
    total, squares, count = (torch.zeros(x.shape[1:], dtype=torch.float64) for _ in range(3))
    low, high = total + torch.inf, total - torch.inf
    for chunk in chunks(x):
        y = chunk.double() / encoding.unit
        total, count = total + y.nansum(0), count + (~y.isnan()).sum(0)
        low, high = low.minimum(_minimum(y)), high.maximum(_maximum(y))
    location = torch.where(which, total / count, 0.0)
    for chunk in chunks(x):
        squares += (chunk.double() / encoding.unit - location).square().nansum(0)
    scale = (squares / count).sqrt()
    scale = torch.where((low < high) & (scale > 0) & which, scale, 1.0)
    if not (location.isfinite() & scale.isfinite()).all():
        largest = max(low.abs().max(), high.abs().max())
        raise InputError(
            f"values up to {largest:.3g} are too large to centre or standardise",
            subject="values",
            remedy="scale them down",
        )
    dtype = x.dtype if x.dtype.is_floating_point else torch.float32
    return replace(encoding, location=location.to(dtype), scale=scale.to(dtype))


def value_range(parts: Mapping[str, Rows], encoding: Encoding, levels: int | None) -> ValueRange:
    """Return the range of the encoded values over all splits."""
    if encoding.location is None and levels is not None:
        return ValueRange(0.0, 1.0, levels)
    lows, highs = [], []
    for x in parts.values():
        if x.dtype == torch.uint8:  # the values that are possible
            ends = torch.zeros(x.shape[1:]), torch.full(x.shape[1:], encoding.unit)
        else:
            ends = _end(x, _minimum), _end(x, _maximum)
        lows.append(_minimum(encoding(ends[0]).flatten()).item())
        highs.append(_maximum(encoding(ends[1]).flatten()).item())
    return ValueRange(
        min(lows), max(highs), is_whole=all(map(partial(_is_whole, encoding), parts.values()))
    )


def _is_whole(encoding: Encoding, x: Rows) -> bool:
    """Return whether all encoded values are whole numbers."""
    return all(bool(((y == y.round()) | y.isnan()).all()) for y in map(encoding, chunks(x)))


def _end(x: Rows, end: Callable[[Tensor], Tensor]) -> Tensor:
    return end(torch.stack([end(chunk) for chunk in chunks(x)]))


def _minimum(x: Tensor) -> Tensor:
    """Return the minimum of each column without its missing values; infinity where all are missing."""
    return torch.where(x.isnan(), torch.inf, x).amin(0) if x.is_floating_point() else x.amin(0)


def _maximum(x: Tensor) -> Tensor:
    return torch.where(x.isnan(), -torch.inf, x).amax(0) if x.is_floating_point() else x.amax(0)
