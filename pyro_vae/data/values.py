"""What values a model sees, and how they come from the stored ones."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from pyro_vae.data.rows import LazyRows, Rows, chunks
from pyro_vae.errors import InputError

FEWEST_LEVELS = 17  # of grey values as floats: shares of fifths are k/255, too
MODERATE = 1e-12, 1e12  # standard deviations with which float32 can compute densities


@dataclass(frozen=True)
class ValueRange:
    """The values that a model sees: all in [low, high]; ``levels`` of them, or whole numbers, or real.

    Of missing values, which are NaN, it says nothing.

    Grey images with L levels are k/(L-1), k = 0..L-1.

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
    """Stored values -> what a model sees: ``(x / unit - location) / scale``, then perhaps a draw.

    ``unit`` is what one is, as stored (255 for 8-bit pixels). ``location`` and ``scale`` have the
    event's shape and are None unless the set is centred or standardised. With ``stochastic`` the outcome
    is a Bernoulli draw, anew at each call, from the global generator of the values' device.

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
        """A model's values back where they were before they were centred or standardised; as precise."""
        if self.location is None or self.scale is None:
            return x
        return x * self.scale.to(x.device) + self.location.to(x.device)

    def to(self, device: torch.device) -> "Encoding":
        if self.location is None or self.scale is None:
            return self
        return replace(self, location=self.location.to(device), scale=self.scale.to(device))


def recognise(
    parts: Mapping[str, Rows], levels: int | None = None, is_table: bool = False
) -> tuple[dict[str, Rows], Encoding, int | None]:
    """The rows of all splits as uint8 where nothing is lost by it, and what the values are.

    Returns the rows, the encoding that brings them to a model's values, and the number of levels.
    Values 0 and 1 only (or 0 and 255, of uint8) are binary; uint8 is k/255, and so is a float that
    equals k/255, if rows have the shape of images or 17 or more levels; all else, and what is not 0 and 1
    in a table, is real. ``levels`` says how many there are where it is known. Where a value is missing all
    stay as they are.
    """
    if levels is not None:
        return dict(parts), Encoding(unit=levels - 1.0), levels
    rows = list(parts.values())
    if any(isinstance(x, LazyRows) for x in rows):
        return dict(parts), Encoding(unit=255.0), 256
    if all(x.dtype == torch.uint8 for x in rows):
        if all(_only(x, 0, 1) for x in rows):
            return dict(parts), Encoding(), 2
        if all(_only(x, 0, 255) for x in rows):
            return _eight_bit(parts, 1 / 255), Encoding(), 2
        return dict(parts), Encoding(unit=255.0), 256
    missing = any(map(num_missing, rows))
    if all(_only(x, 0, 1) for x in rows):
        return (dict(parts) if missing else _eight_bit(parts, 1)), Encoding(), 2
    are_shaped = len(rows[0].shape) > 2  # as images are
    grey = not is_table and all(map(_is_eight_bit, rows))
    if grey and (are_shaped or _num_levels(rows) >= FEWEST_LEVELS):
        if missing:
            return dict(parts), Encoding(), 256
        return _eight_bit(parts, 255), Encoding(unit=255.0), 256
    return dict(parts), Encoding(), None


def num_missing(x: Rows) -> int:
    """How many values are NaN."""
    return sum(int(c.isnan().sum()) for c in chunks(x)) if x.dtype.is_floating_point else 0


def filled_in(x: Tensor, known: Tensor) -> Tensor:
    """Rows ``B | event`` with a value that one of the ``known`` rows has in place of each missing one.

    >>> filled_in(torch.tensor([[torch.nan, 3.0]]), torch.tensor([[torch.nan, 1.0], [2.0, 1.0]]))
    tensor([[2., 3.]])
    """
    first = (~known.isnan()).int().argmax(0, keepdim=True)
    return torch.where(x.isnan(), known.gather(0, first), x)


def _only(x: Rows, low: int, high: int) -> bool:
    return all(bool(((c == low) | (c == high) | c.isnan()).all()) for c in chunks(x))


def _is_eight_bit(x: Rows) -> bool:
    """Whether every value is exactly a k/255, as division in float32 gives it, or missing."""
    return all(
        bool((((c * 255).round().clamp(0, 255) / 255 == c) | c.isnan()).all())
        for c in map(Tensor.float, chunks(x))
    )


def _num_levels(parts: Iterable[Rows]) -> int:
    """How many of the values k/255 there are."""
    seen = torch.zeros(256, dtype=torch.bool)
    for chunk in (c for x in parts for c in chunks(x)):
        seen[(chunk[~chunk.isnan()] * 255).round().long()] = True
    return int(seen.sum())


def _eight_bit(parts: Mapping[str, Rows], factor: float) -> dict[str, Rows]:
    return {
        name: torch.cat([(c * factor).round().to(torch.uint8) for c in chunks(x)])
        for name, x in parts.items()
    }


def lost_in_float32(x: Rows) -> Tensor:
    """Of which elements of the event, ``| event``, float32 would lose the differences between rows."""
    if x.dtype != torch.float64:
        return torch.zeros(x.shape[1:], dtype=torch.bool)
    low, high = (
        torch.full(x.shape[1:], end, dtype=torch.float64) for end in (torch.inf, -torch.inf)
    )
    error = torch.zeros_like(low)
    for y in chunks(x):
        low, high = low.minimum(_least(y)), high.maximum(_greatest(y))
        error = error.maximum(_greatest((y.float().double() - y).abs()))
    return (high > low) & (error > 1e-5 * (high - low))


def centred(x: Rows, encoding: Encoding, which: Tensor) -> Encoding:
    """``encoding``, and then the mean of ``x`` subtracted, so that densities are those of the data's units.

    The standard deviation is divided out only where float32 could not hold the square of its inverse.
    """
    found = standardised(x, encoding, which)
    assert found.scale is not None
    extreme = (found.scale < MODERATE[0]) | (found.scale > MODERATE[1])
    return replace(found, scale=torch.where(extreme, found.scale, 1.0))


def standardised(x: Rows, encoding: Encoding, which: Tensor) -> Encoding:
    """``encoding``, and then the mean of ``x`` subtracted and its standard deviation divided out.

    Both are taken per element of the event over the n rows that have it (the variance divides by n); an
    element that never varies gets scale 1. Elements but ``which`` (| event) stay as they are.
    """
    total, squares, count = (torch.zeros(x.shape[1:], dtype=torch.float64) for _ in range(3))
    low, high = total + torch.inf, total - torch.inf
    for chunk in chunks(x):
        y = chunk.double() / encoding.unit
        total, count = total + y.nansum(0), count + (~y.isnan()).sum(0)
        low, high = low.minimum(_least(y)), high.maximum(_greatest(y))
    location = torch.where(which, total / count, 0.0)
    for chunk in chunks(x):
        squares += (chunk.double() / encoding.unit - location).square().nansum(0)
    scale = (squares / count).sqrt()
    scale = torch.where((low < high) & (scale > 0) & which, scale, 1.0)
    if not (location.isfinite() & scale.isfinite()).all():
        raise InputError(
            f"values up to {max(low.abs().max(), high.abs().max()):.3g} are too large to "
            "standardise; scale them down"
        )
    dtype = x.dtype if x.dtype.is_floating_point else torch.float32
    return replace(encoding, location=location.to(dtype), scale=scale.to(dtype))


def value_range(parts: Mapping[str, Rows], encoding: Encoding, levels: int | None) -> ValueRange:
    """The range of the encoded values over all splits."""
    if encoding.location is None and levels is not None:
        return ValueRange(0.0, 1.0, levels)
    lows, highs = [], []
    for x in parts.values():
        if x.dtype == torch.uint8:  # what could occur, not what does
            ends = torch.zeros(x.shape[1:]), torch.full(x.shape[1:], encoding.unit)
        else:
            ends = _end(x, _least), _end(x, _greatest)
        lows.append(_least(encoding(ends[0]).flatten()).item())
        highs.append(_greatest(encoding(ends[1]).flatten()).item())
    return ValueRange(
        min(lows), max(highs), is_whole=all(map(partial(_is_whole, encoding), parts.values()))
    )


def _is_whole(encoding: Encoding, x: Rows) -> bool:
    """Whether all encoded values are whole numbers."""
    seen = map(encoding, chunks(x))
    return all(bool(((y == y.round()) | y.isnan()).all()) for y in seen)


def _end(x: Rows, end: Callable[[Tensor], Tensor]) -> Tensor:
    return end(torch.stack([end(chunk) for chunk in chunks(x)]))


def _least(x: Tensor) -> Tensor:
    """The least of what is there, of each column; infinity where nothing is."""
    return torch.where(x.isnan(), torch.inf, x).amin(0) if x.is_floating_point() else x.amin(0)


def _greatest(x: Tensor) -> Tensor:
    return torch.where(x.isnan(), -torch.inf, x).amax(0) if x.is_floating_point() else x.amax(0)
