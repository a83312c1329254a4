"""What the tracker needs to know about torch's operations."""

import functools
from typing import Any, NamedTuple

import torch

# Their result depends on their argument's shape, not on its values.
SHAPE_ONLY = frozenset(
    [f"{fill}_like" for fill in ("empty", "zeros", "ones", "full", "rand", "randn", "randint")]
    + [f"new_{fill}" for fill in ("empty", "zeros", "ones", "full", "empty_strided")]
)
OVERWRITING = frozenset(
    f"{fill}_" for fill in ("zero", "fill", "copy", "normal", "uniform", "exponential", "random")
)
READING = frozenset(["_local_scalar_dense", "equal", "allclose", "is_nonzero"])


class Operator(NamedTuple):
    """Hold how one operation handles the values of its arguments."""

    shape_only: bool
    is_random: bool  # also: of memory that nobody has written to
    overwrites: bool
    reads_values: bool
    writes: tuple[int, ...]
    writes_named: tuple[str, ...]


@functools.cache
def operator_of(func: Any) -> Operator:
    """Return what a dispatched operation does with its arguments."""
    name = func.overloadpacket.__name__
    arguments = func._schema.arguments
    written = [
        (i, a.name, a.kwarg_only)
        for i, a in enumerate(arguments)
        if a.alias_info is not None and a.alias_info.is_write
    ]
    return Operator(
        shape_only=name in SHAPE_ONLY,
        is_random=torch.Tag.nondeterministic_seeded in func.tags or "empty" in name,
        overwrites=name in OVERWRITING,
        reads_values=name in READING,
        writes=tuple(i for i, _, named in written if not named),
        writes_named=tuple(n for _, n, named in written if named),
    )
