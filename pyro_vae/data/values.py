"""What values a model sees, and how they come from the stored ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyro_vae.data.rows import LazyRows, Rows, chunks
from pyro_vae.errors import InputError


@dataclass(frozen=True)
class ValueRange:
    """The values that a model sees: all in [low, high]; ``levels`` of them, None where real.

    Grey images with L levels are k/(L-1), k = 0..L-1.

    >>> print(ValueRange(0.0, 1.0, 2), "|", ValueRange(0.0, 1.0, 17), "|", ValueRange(-1.5, 2.0))
    binary | 17 levels in [0, 1] | real values in [-1.5, 2]
    """

    low: float
    high: float
    levels: int | None = None

    @property
    def in_unit_interval(self) -> bool:
        """Whether every value lies in [0, 1]."""
        return self.low >= 0 and self.high <= 1

    def __str__(self) -> str:
        if self.levels == 2:
            return "binary"
        kind = "real values" if self.levels is None else f"{self.levels} levels"
        return f"{kind} in [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True, eq=False)
class Encoding:
    """Stored values -> what a model sees: ``(x / unit - location) / scale``, then perhaps a draw.

    ``unit`` is what one is, as stored (255 for 8-bit pixels). ``location`` and ``scale`` have the
    event's shape and are None unless the set is standardised. With ``stochastic`` the outcome is a
    Bernoulli draw, anew at each call, from the global generator of the values' device.

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
        """A model's values back in the units they had before they were standardised."""
        if self.location is None or self.scale is None:
            return x
        return x * self.scale.to(x) + self.location.to(x)

    def to(self, device: torch.device) -> "Encoding":
        if self.location is None or self.scale is None:
            return self
        return replace(self, location=self.location.to(device), scale=self.scale.to(device))


def recognise(
    parts: Mapping[str, Rows], levels: int | None = None
) -> tuple[dict[str, Rows], Encoding, int | None]:
    """The rows of all splits as uint8 where nothing is lost by it, and what the values are.

    Returns the rows, the encoding that brings them to a model's values, and the number of levels.
    Values 0 and 1 only (or 0 and 255, of uint8) are binary; uint8 is k/255, and so is a float that
    equals k/255; all else is real. ``levels`` says how many there are where it is known.
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
    if all(_only(x, 0, 1) for x in rows):
        return _eight_bit(parts, 1), Encoding(), 2
    if all(_is_eight_bit(x) for x in rows):
        return _eight_bit(parts, 255), Encoding(unit=255.0), 256
    return dict(parts), Encoding(), None


def _only(x: Rows, low: int, high: int) -> bool:
    return all(bool(((chunk == low) | (chunk == high)).all()) for chunk in chunks(x))


def _is_eight_bit(x: Rows) -> bool:
    """Whether every value is exactly a k/255, as division in its own precision gives it."""
    return all(
        bool(((chunk * 255).round().clamp(0, 255) / 255 == chunk).all()) for chunk in chunks(x)
    )


def _eight_bit(parts: Mapping[str, Rows], factor: float) -> dict[str, Rows]:
    return {
        name: torch.cat([(c * factor).round().to(torch.uint8) for c in chunks(x)])
        for name, x in parts.items()
    }


def standardised(x: Rows, encoding: Encoding) -> Encoding:
    """``encoding``, and then the mean of ``x`` subtracted and its standard deviation divided out.

    Both are taken per element of the event over the N rows (the variance divides by N); an element
    that never varies gets scale 1.
    """
    total, squares = (torch.zeros(x.shape[1:], dtype=torch.float64) for _ in range(2))
    low, high = total + torch.inf, total - torch.inf
    for chunk in chunks(x):
        y = chunk.double() / encoding.unit
        total, low, high = total + y.sum(0), low.minimum(y.amin(0)), high.maximum(y.amax(0))
    location = total / len(x)
    for chunk in chunks(x):
        squares += (chunk.double() / encoding.unit - location).square().sum(0)
    scale = (squares / len(x)).sqrt()
    scale = torch.where((low < high) & (scale > 0), scale, 1.0)
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
            ends = _end(x, torch.amin), _end(x, torch.amax)
        lows.append(encoding(ends[0]).min().item())
        highs.append(encoding(ends[1]).max().item())
    return ValueRange(min(lows), max(highs))


def _end(x: Rows, end: Callable[[Tensor, int], Tensor]) -> Tensor:
    return end(torch.stack([end(chunk, 0) for chunk in chunks(x)]), 0)
