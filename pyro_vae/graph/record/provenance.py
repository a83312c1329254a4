"""The origins of a tensor, read off the operations that computed it.

Pyro's provenance tensors have the same idea (D. Wingate, N. Goodman, A. Stuhlmueller, J. Siskind,
"Nonstandard interpretations of probabilistic programs for efficient inference", NeurIPS 2011). This module
wraps no tensor: below torch's dispatcher every operation names the storages that it reads and writes.
So views, in-place writes, modules, parameters and recurrent kernels need no special case.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from pyro_vae.graph.record.operators import Operator, operator_of
from pyro_vae.graph.record.shapes import is_small, on_cpu, on_shapes
from pyro_vae.program.trace import run_without_gradients
from pyro_vae.user_code import calls_within, program_line


class Origin(NamedTuple):
    """Name what a tensor may depend on: a sample statement, an argument of the call, or a parameter."""

    kind: str  # "site", "data" or "parameters"
    name: str


Origins = frozenset[Origin]
NOTHING: Origins = frozenset()
# of numbers that depend on none of these and are no constants: random ones, and those of unknown writes
NO_CONSTANT: Origins = frozenset({Origin("no constant", "")})


class ValueRead(NamedTuple):
    """Hold the origins of values that became Python or NumPy numbers, which nothing can track."""

    origins: Origins
    where: str  # "line 12 of file.py"


class NeedsValues(Exception):
    """Report that the program reads the value of a tensor that has none (Python branches, NumPy, ...)."""


# Torch runs these without its dispatcher.
READING_UNDISPATCHED = frozenset(["tolist", "numpy", "__array__", "__dlpack__"])


class Tracker(TorchDispatchMode):
    """Follow origins through every operation inside ``with tracker:``.

    Without ``values`` operations run on meta tensors, which have shapes and dtypes only, and raise
    ``NeedsValues`` where the program reads a number.
    """

    def __init__(self, values: bool) -> None:
        super().__init__()
        self.values = values
        self.value_reads: list[ValueRead] = []
        self._origins: dict[int, Origins] = {}
        # Kept: another storage could get a freed one's address.
        self._storages: dict[int, object] = {}
        self._arrays: list[tuple[int, int, Origins]] = []
        self._paused = False
        self._function_tracker = _FunctionTracker(self)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing compiles here; True would import the compiler

    def __enter__(self) -> "Tracker":
        super().__enter__()
        self._function_tracker.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._function_tracker.__exit__(*error)
        super().__exit__(*error)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Track nothing inside: a draw's value belongs to its site, however it is computed."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def tag(self, data: Tensor | np.ndarray, origins: Origins) -> None:
        """Declare that from here on ``data`` depends on ``origins`` and nothing more."""
        if isinstance(data, np.ndarray):
            reach = sum(
                max(n - 1, 0) * step for n, step in zip(data.shape, data.strides, strict=True)
            )
            start = data.ctypes.data
            self._arrays.append((start, start + reach + data.itemsize, origins))
            return
        key, storage = storage_of(data)
        self._storages[key] = storage
        self._origins[key] = origins

    def tag_parameter(self, tensor: Tensor) -> None:
        """Declare ``tensor`` a parameter: an origin of its own."""
        self.tag(tensor, _parameter_origin(tensor))

    def is_computed(self, tensor: Tensor) -> bool:
        """Return whether the program has drawn or computed ``tensor``, so that it is not learnt."""
        return bool(self.origins(tensor) - _parameter_origin(tensor))

    def is_constant(self, data: object) -> bool:
        """Return whether the numbers in ``data`` are there, and the same in every call."""
        return not any(_is_absent(leaf) for leaf in tree_iter(data)) and not self._all_origins(data)

    def origins(self, data: object) -> Origins:
        """Return what the tensors and arrays in ``data`` (also in nested containers) depend on."""
        return self._all_origins(data) - NO_CONSTANT

    def _all_origins(self, data: object) -> Origins:
        return frozenset().union(*(self._leaf_origins(leaf) for leaf in tree_iter(data)))

    def _leaf_origins(self, leaf: object) -> Origins:
        if isinstance(leaf, Tensor):
            key, storage = storage_of(leaf)
            if key in self._origins:
                return self._origins[key]
            if leaf.requires_grad and leaf.is_leaf:  # of Pyro's store, hidden from the handlers
                self.tag_parameter(leaf)
                return self._origins[key]
            if self._arrays and leaf.device.type == "cpu" and leaf.layout == torch.strided:
                return self._address_origins(storage.data_ptr())
        elif isinstance(leaf, np.ndarray) and self._arrays:
            return self._address_origins(leaf.ctypes.data)
        return NOTHING

    def _address_origins(self, address: int) -> Origins:
        spans = (origins for start, stop, origins in self._arrays if start <= address < stop)
        return next(spans, NOTHING)

    def note_value_read(self, origins: Origins) -> None:
        """Note that values became plain numbers; without values the program cannot go on."""
        if not self.values:
            raise NeedsValues
        if origins and not self._paused:
            self.value_reads.append(ValueRead(origins, _place()))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        operator = operator_of(func)
        if not self.values and self._computes_constant(operator, args, kwargs):
            return func(*args, **on_cpu(kwargs))
        if operator.reads_values:
            self.note_value_read(self.origins((args, kwargs)))
        result = func(*args, **kwargs) if self.values else on_shapes(func, args, kwargs)
        if not self._paused:
            self._propagate(operator, args, kwargs, result)
        return result

    def _computes_constant(self, operator: Operator, args: Any, kwargs: Any) -> bool:
        """Return whether to do an operation of a run on shapes: on a few constants, into new memory."""
        is_pure = not (operator.is_random or operator.writes or operator.writes_named)
        return is_pure and is_small(args, kwargs) and self.is_constant((args, kwargs))

    def _propagate(self, operator: Operator, args: Any, kwargs: Any, result: Any) -> None:
        written = [args[i] for i in operator.writes if i < len(args)]
        written += [kwargs[name] for name in operator.writes_named if name in kwargs]
        if operator.overwrites and _fills_storage(args[0]):
            origins = self._all_origins((args[1:], kwargs))
        else:
            origins = NOTHING if operator.shape_only else self._all_origins((args, kwargs))
        if operator.is_random or (written and not self.values):
            origins |= NO_CONSTANT
        for tensor in tree_iter((written, result)):
            if isinstance(tensor, Tensor) and (origins or storage_of(tensor)[0] in self._origins):
                every = origins if operator.overwrites else self._leaf_origins(tensor) | origins
                self.tag(tensor, every)


class _FunctionTracker(TorchFunctionMode):
    """Track what never reaches the dispatcher: ``tolist`` and the like, and indices of one number."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()
        self.tracker = tracker

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in READING_UNDISPATCHED:
            self.tracker.note_value_read(self.tracker.origins((args, kwargs)))
        elif name in ("__getitem__", "__setitem__") and any(map(_is_number, _indices(args[1]))):
            return self._indexed(func, *args)
        if name == "tensor" and not self.tracker.values:
            kwargs = on_cpu(kwargs)  # a constant, also beside tensors that have shapes only
        result = func(*args, **kwargs)
        if name in ("tensor", "as_tensor") and isinstance(args[0] if args else None, np.ndarray):
            origins = self.tracker._all_origins(args[0])
            if origins:
                self.tracker.tag(result, origins)
        return result

    def _indexed(self, func: Any, tensor: Tensor, index: Any, *value: Any) -> Any:
        """Return ``tensor[k]`` for an integer tensor k, which torch reads as a plain number."""
        origins = self.tracker._all_origins((tensor, index, value))
        plain = tuple((0 if _is_number(i) else i) for i in _indices(index))
        with self.tracker.paused():
            result = func(tensor, index if self.tracker.values else plain, *value)
            result = tensor if value else result.clone()  # a view's storage is the tensor's
        if value and not self.tracker.values:
            origins |= NO_CONSTANT
        self.tracker.tag(result, origins)
        return None if value else result


def _indices(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _is_number(index: Any) -> bool:
    if not isinstance(index, Tensor) or index.dim():
        return False
    return not (index.is_floating_point() or index.dtype == torch.bool)


def _is_absent(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.device.type == "meta"


def _parameter_origin(tensor: Tensor) -> Origins:
    return frozenset({Origin("parameters", str(storage_of(tensor)[0]))})


def storage_of(tensor: Tensor) -> tuple[int, Any]:
    """Return the address of the memory that a tensor shares with its views, and this memory."""
    while is_functorch_wrapped_tensor(tensor):  # inside `torch.func.vmap` and the like
        tensor = get_unwrapped(tensor)
    if tensor.layout != torch.strided:
        return id(tensor), tensor
    storage = tensor.untyped_storage()
    return storage._cdata, storage


def _fills_storage(tensor: Tensor) -> bool:
    strided = tensor.layout == torch.strided
    return strided and tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()


def _place() -> str:
    """Return where the program is."""
    line = program_line(calls_within(run_without_gradients.__code__))
    return line.place if line else "in a library"
