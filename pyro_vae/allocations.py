"""The memory of tensors, added up as they are made."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_vae.memory import ALLOWANCE, check_fits

_FACTORIES = {
    f"aten::{name}" for name in ("empty", "zeros", "ones", "full", "rand", "randn", "eye")
}


class Allocations(TorchDispatchMode):
    """Add up the bytes of all tensors that are made within the block, freed or not.

    With ``what``, a tensor of a factory function (``torch.empty`` and the like, which make parameters
    and buffers) is refused before it takes memory that the machine does not have.

    Args:
        what: what the tensors are made for, as the refusal names it.
        times: how many times the memory of the factories' tensors will be needed.
        remedy: what the refusal advises.

    Attributes:
        bytes: of every result that is not a view and not written in place.
    """

    def __init__(self, what: str = "", times: int = 1, remedy: str = "") -> None:
        super().__init__()
        self.what, self.times, self.remedy = what, times, remedy
        self.bytes = 0
        self._factory_bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = kwargs or {}
        if self.what and func.name().partition(".")[0] in _FACTORIES:
            self._check(args, options)
        result = func(*args, **options)
        if isinstance(result, Tensor) and not (func.is_view or func._schema.is_mutable):
            self.bytes += result.untyped_storage().nbytes()
        return result

    def _check(self, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Raise InputError where a factory's tensor, and all before it, do not fit the memory."""
        if args and isinstance(args[0], Sequence):
            dtype = options.get("dtype") or torch.get_default_dtype()
            self._factory_bytes += prod(args[0]) * dtype.itemsize
            if self._factory_bytes > ALLOWANCE // 4:
                check_fits(self.what, self.times * self._factory_bytes, self.remedy)


def raise_malloc_thresholds() -> None:
    """Allocate and free a block of almost 32 MiB.

    GNU's malloc returns large freed blocks to the system, and the pages of the next block take up to a
    third of an estimate, and a fifth of a step. It raises its thresholds to the largest block that was
    freed, up to 32 MiB (``man mallopt``, M_MMAP_THRESHOLD), unless the user has set them. The block's pages
    are never touched.
    """
    torch.empty(2**25 - 2**13, dtype=torch.uint8)
