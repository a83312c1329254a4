"""The memory of tensors, added up as they are made."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_vae.memory import ALLOWANCE, check_fits

_MAKE = {f"aten::{name}" for name in ("empty", "zeros", "ones", "full", "rand", "randn", "eye")}


class Allocations(TorchDispatchMode):
    """Within its block, adds up the tensors that are made, and refuses one that is too large.

    :param what: what they are made for.
    :param times: how many times their memory will be needed.
    """

    def __init__(self, what: str, times: int, remedy: str) -> None:
        super().__init__()
        self.what, self.times, self.remedy, self.taken = what, times, remedy, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = kwargs or {}
        if func.name().partition(".")[0] in _MAKE and args and isinstance(args[0], Sequence):
            dtype = options.get("dtype") or torch.get_default_dtype()
            self.taken += prod(args[0]) * dtype.itemsize
            if self.taken > ALLOWANCE // 4:
                check_fits(self.what, self.times * self.taken, self.remedy)
        return func(*args, **options)
