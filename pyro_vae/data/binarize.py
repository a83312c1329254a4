"""Grey values -> zeros and ones, once and for all."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyro_vae.data.rows import LazyRows, Rows, chunks
from pyro_vae.data.rows import subset as rows_subset
from pyro_vae.data.values import Encoding

Rule = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Threshold:
    """Return 1 where the grey value is above 1/2."""

    def __call__(self, grey: Tensor, numbers: Tensor) -> Tensor:
        return (grey > 0.5).to(torch.uint8)


@dataclass(frozen=True)
class Draw:
    """Draw from a Bernoulli with the grey value as probability, fixed by seed, split and row number.

    Each row has its own stretch of a counter-based generator, so that rows may be drawn in any
    order, and one by one.
    """

    seed: int
    split: str

    def __call__(self, grey: Tensor, numbers: Tensor) -> Tensor:  # (B | event), (B,) -> (B | event)
        digest = hashlib.sha256(f"{self.seed} {self.split}".encode()).digest()
        key = int.from_bytes(digest[:16], "little")
        uniform = np.empty(grey.shape, dtype=np.float32)
        for row, number in zip(uniform, numbers.tolist(), strict=True):
            stream = np.random.Philox(key=key, counter=[0, 0, 0, number])
            np.random.Generator(stream).random(out=row, dtype=np.float32)
        return (torch.from_numpy(uniform) < grey).to(torch.uint8)


class _Binarized(LazyRows):
    def __init__(self, rows: Rows, encoding: Encoding, rule: Rule, numbers: Tensor) -> None:
        self.shape, self.dtype = rows.shape, torch.uint8
        self._rows, self._encoding, self._rule, self._numbers = rows, encoding, rule, numbers

    def __getitem__(self, index: Tensor) -> Tensor:
        return self._rule(self._encoding(self._rows[index]), self._numbers[index])

    def subset(self, index: Tensor) -> LazyRows:
        rows = rows_subset(self._rows, index)
        return _Binarized(rows, self._encoding, self._rule, self._numbers[index])

    def identity(self) -> bytes:
        assert isinstance(self._rows, LazyRows)
        return self._rows.identity() + repr((self._rule, self._numbers.tolist())).encode()


def binarized(rows: Rows, encoding: Encoding, rule: Rule) -> Rows:
    """Return the rows as zeros and ones (uint8) by ``rule``; lazy rows stay lazy."""
    lazy = _Binarized(rows, encoding, rule, torch.arange(len(rows)))
    return lazy if isinstance(rows, LazyRows) else torch.cat(list(chunks(lazy)))
