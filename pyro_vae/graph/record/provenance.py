"""Which named things a tensor depends on, read off the operations that made it.

The idea is that of Pyro's provenance tensors (D. Wingate, N. Goodman, A. Stuhlmueller, J. Siskind,
"Nonstandard interpretations of probabilistic programs for efficient inference", NeurIPS 2011). Here
no tensor is wrapped: below torch's dispatcher every operation names the storages that it reads and
writes, so views, in-place writes, modules, parameters and recurrent kernels need no special case.
"""

import functools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch
from torch import Tensor
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from pyro_vae.graph.record.shapes import on_shapes


class Origin(NamedTuple):
    """What a tensor may depend on: a sample statement, an argument of the call, or a parameter."""

    kind: str  # "site", "data" or "parameters"
    name: str


Origins = frozenset[Origin]
NOTHING: Origins = frozenset()


class Escape(NamedTuple):
    """Values that left the tensors as Python or NumPy numbers: nothing can be tracked from there."""

    origins: Origins
    where: str  # "file.py:12"


class NeedsValues(Exception):
    """The program asks for the value of a tensor that has none (Python branches, NumPy, ...)."""


# the result depends on its argument's shape, not on its values
SHAPE_ONLY = frozenset(
    [f"{fill}_like" for fill in ("empty", "zeros", "ones", "full", "rand", "randn", "randint")]
    + [f"new_{fill}" for fill in ("empty", "zeros", "ones", "full", "empty_strided")]
)
OVERWRITING = frozenset(
    f"{fill}_" for fill in ("zero", "fill", "copy", "normal", "uniform", "exponential", "random")
)
LEAVING = frozenset(["_local_scalar_dense", "equal", "allclose", "is_nonzero"])
LEAVING_UNSEEN = frozenset(["tolist", "numpy", "__array__", "__dlpack__"])  # by the dispatcher


class Tracker(TorchDispatchMode):
    """Follows origins through every operation inside ``with tracker:``.

    Without ``values`` operations run on meta tensors: shapes and dtypes only, whatever the size, and
    ``NeedsValues`` where the program cannot go on without numbers.
    """

    def __init__(self, values: bool) -> None:
        super().__init__()
        self.values = values
        self.escapes: list[Escape] = []
        self._origins: dict[int, Origins] = {}
        self._alive: dict[
            int, object
        ] = {}  # a freed storage's address could come back as another's
        self._arrays: list[tuple[int, int, Origins]] = []
        self._paused = False
        self._surface = _Surface(self)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; to say so would import the whole compiler

    def __enter__(self) -> "Tracker":
        super().__enter__()
        self._surface.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._surface.__exit__(*error)
        super().__exit__(*error)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Operations leave no trace: a draw's value is its site's, however it is computed."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def tag(self, data: Tensor | np.ndarray, origins: Origins) -> None:
        """From here on ``data`` depends on ``origins``, and on nothing else."""
        if isinstance(data, np.ndarray):
            reach = sum(
                max(n - 1, 0) * step for n, step in zip(data.shape, data.strides, strict=True)
            )
            start = data.ctypes.data
            self._arrays.append((start, start + reach + data.itemsize, origins))
            return
        key, storage = storage_of(data)
        self._alive[key] = storage
        self._origins[key] = origins

    def tag_parameter(self, tensor: Tensor) -> None:
        """From here on what depends on ``tensor`` depends on a parameter."""
        self.tag(tensor, _own(tensor))

    def is_made(self, tensor: Tensor) -> bool:
        """Whether the program has drawn or computed it, in place of a parameter of its own."""
        return bool(self.origins(tensor) - _own(tensor))

    def origins(self, data: object) -> Origins:
        """What the tensors and arrays in ``data`` (nested containers, too) depend on."""
        found = (self._of_leaf(leaf) for leaf in tree_iter(data))
        return frozenset().union(*found)

    def _of_leaf(self, leaf: object) -> Origins:
        if isinstance(leaf, Tensor):
            key, storage = storage_of(leaf)
            if key in self._origins:
                return self._origins[key]
            if leaf.requires_grad and leaf.is_leaf:  # of Pyro's store, hidden from the handlers
                self.tag_parameter(leaf)
                return self._origins[key]
            if self._arrays and leaf.device.type == "cpu" and leaf.layout == torch.strided:
                return self._of_address(storage.data_ptr())
        elif isinstance(leaf, np.ndarray) and self._arrays:
            return self._of_address(leaf.ctypes.data)
        return NOTHING

    def _of_address(self, address: int) -> Origins:
        found = (origins for start, stop, origins in self._arrays if start <= address < stop)
        return next(found, NOTHING)

    def escape(self, origins: Origins) -> None:
        """Notes that values left the tensors; without values the program cannot go on."""
        if not self.values:
            raise NeedsValues
        if origins and not self._paused:
            self.escapes.append(Escape(origins, _line_of_program()))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        operator = _operator(func)
        if operator.leaves:
            self.escape(self.origins((args, kwargs)))
        result = func(*args, **kwargs) if self.values else on_shapes(func, args, kwargs)
        if not self._paused:
            self._follow(operator, args, kwargs, result)
        return result

    def _follow(self, operator: "Operator", args: Any, kwargs: Any, result: Any) -> None:
        written = [args[i] for i in operator.writes if i < len(args)]
        written += [kwargs[name] for name in operator.writes_named if name in kwargs]
        if operator.overwrites and _fills_storage(args[0]):
            origins = self.origins((args[1:], kwargs))
        else:
            origins = NOTHING if operator.shape_only else self.origins((args, kwargs))
        for tensor in tree_iter((written, result)):
            if isinstance(tensor, Tensor) and (origins or storage_of(tensor)[0] in self._origins):
                self.tag(tensor, origins if operator.overwrites else self.origins(tensor) | origins)


class _Surface(TorchFunctionMode):
    """Sees what never reaches the dispatcher: ``tolist`` and its like, and indices of one number."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()
        self.tracker = tracker

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in LEAVING_UNSEEN:
            self.tracker.escape(self.tracker.origins((args, kwargs)))
        elif name in ("__getitem__", "__setitem__") and any(map(_is_number, _indices(args[1]))):
            return self._indexed(func, *args)
        result = func(*args, **kwargs)
        if name in ("tensor", "as_tensor") and isinstance(args[0] if args else None, np.ndarray):
            origins = self.tracker.origins(args[0])
            if origins:
                self.tracker.tag(result, origins)
        return result

    def _indexed(self, func: Any, tensor: Tensor, index: Any, *value: Any) -> Any:
        """``tensor[k]`` for an integer tensor k, which torch reads as a plain number."""
        origins = self.tracker.origins((tensor, index, value))
        plain = tuple((0 if _is_number(i) else i) for i in _indices(index))
        with self.tracker.paused():
            result = func(tensor, index if self.tracker.values else plain, *value)
            result = tensor if value else result.clone()  # a view's storage is the tensor's
        self.tracker.tag(result, origins)
        return None if value else result


def _indices(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _is_number(index: Any) -> bool:
    if not isinstance(index, Tensor) or index.dim():
        return False
    return not (index.is_floating_point() or index.dtype == torch.bool)


class Operator(NamedTuple):
    """What the tracker needs to know of one operation of torch's."""

    shape_only: bool
    overwrites: bool
    leaves: bool
    writes: tuple[int, ...]
    writes_named: tuple[str, ...]


@functools.cache
def _operator(func: Any) -> Operator:
    name = func.overloadpacket.__name__
    arguments = func._schema.arguments
    written = [
        (i, a.name, a.kwarg_only)
        for i, a in enumerate(arguments)
        if a.alias_info is not None and a.alias_info.is_write
    ]
    return Operator(
        shape_only=name in SHAPE_ONLY,
        overwrites=name in OVERWRITING,
        leaves=name in LEAVING,
        writes=tuple(i for i, _, named in written if not named),
        writes_named=tuple(n for _, n, named in written if named),
    )


def _own(tensor: Tensor) -> Origins:
    return frozenset({Origin("parameters", str(storage_of(tensor)[0]))})


def storage_of(tensor: Tensor) -> tuple[int, Any]:
    """The memory behind a tensor, which its views share, and that memory's address."""
    while is_functorch_wrapped_tensor(tensor):  # inside of `torch.func.vmap` and its like
        tensor = get_unwrapped(tensor)
    if tensor.layout != torch.strided:
        return id(tensor), tensor
    storage = tensor.untyped_storage()
    return storage._cdata, storage


def _fills_storage(tensor: Tensor) -> bool:
    strided = tensor.layout == torch.strided
    return strided and tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()


_NOT_THE_PROGRAM = tuple(
    str(Path(package).parent) for package in (torch.__file__, pyro.__file__, np.__file__, __file__)
)


def _line_of_program() -> str:
    """File and line of the innermost frame that belongs to the user's program."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith((*_NOT_THE_PROGRAM, "<frozen")):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
