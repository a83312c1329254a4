"""What a run on fake CUDA tensors does on the wrong device, and where its host would wait for the GPU."""

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyro
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HERE = Path(__file__).parent
PYRO = Path(pyro.__file__).parent
REPOSITORY = HERE.parent.parent

# operations that hand Python a value, and what it is told here so that the run goes on
READS: dict[str, Any] = {
    "_local_scalar_dense": 1,
    "is_nonzero": True,
    "equal": True,
    "allclose": True,
}
# those whose code for CUDA waits, because the result's shape or a check depends on values
WAITS = {
    *("nonzero", "masked_select", "bincount", "_unique2", "unique_dim", "unique_consecutive"),
    *("_linalg_check_errors", "_linalg_eigh", "_linalg_svd", "linalg_eig", "linalg_lstsq"),
}
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_"}


class Watch(TorchDispatchMode):
    """Count, by operation and place, what a run on a GPU should not do.

    Args:
        answers: what Python is told in a place, where it is not True.

    Attributes:
        waits: where the host would wait: it reads a value, or copies between the two devices.
        misplaced: where a tensor is made on the CPU, or one from there meets those of the device. (That is
            allowed to a single number; Inductor then makes no CUDA graph. All else raises an error.)
    """

    def __init__(self, answers: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.answers = answers or {}
        self.waits, self.misplaced = Counter[str](), Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func._schema.name.removeprefix("aten::"), kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_device = any(tensor.is_cuda for tensor in tensors)
        if on_device and name in READS:
            self.waits[f"{(asker := place())}: {name}"] += 1
            return self.answers.get(asker, READS[name])
        if on_device and (name in WAITS or waits_by_arguments(func, name, args, kwargs)):
            self.waits[f"{place()}: {name}"] += 1
        out = func(*args, **kwargs)
        ends = {"_to_copy": lambda: (args[0], out), "copy_": lambda: (args[1], args[0])}
        if name in ends:
            start, end = ends[name]()
            if isinstance(start, Tensor) and start.device != end.device:
                self.waits[f"{place()}: copy from {start.device.type} to {end.device.type}"] += 1
        elif on_device and any(tensor.is_cpu for tensor in tensors):
            self.misplaced[f"{place()}: {name} with a number of the CPU"] += 1
        elif not tensors and isinstance(out, Tensor) and out.is_cpu:
            self.misplaced[f"{place()}: {name}"] += 1
        return out


def waits_by_arguments(func: Any, name: str, args: Any, kwargs: Any) -> bool:
    """Return whether an operation waits because of what it is given."""
    if name in INDEXED:  # a mask has as many indices as it has Trues; the CPU's indices are copied
        indices = [index for index in args[1] if index is not None]
        return any(not i.is_cuda or not i.dtype.is_signed for i in indices)
    if name == "repeat_interleave":
        return func._overloadname == "Tensor" and kwargs.get("output_size") is None
    return name == "normal" and isinstance(args[1], Tensor)  # it looks for a negative scale


def place() -> str:
    """Return file and function of the innermost line in pyro_vae, a test's program or Pyro."""
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "__torch_function__":  # it only passes on
            frame = frame.f_back
            continue
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PYRO):
            return f"{path.relative_to(PYRO.parent)} {frame.f_code.co_name}"
        inside = path.relative_to(REPOSITORY).parts if path.is_relative_to(REPOSITORY) else ()
        if inside and inside[0] != ".venv" and path.parent != HERE:
            return f"{path.relative_to(REPOSITORY)} {frame.f_code.co_name}"
        frame = frame.f_back
    return "torch"
