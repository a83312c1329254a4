"""Fake CUDA tensors in a CPU build of torch: an extension that pretends to be a GPU, for one process.

``FakeTensorMode`` takes ``device="cuda"`` in any build. Indexing also asks the device's guard, and the
backward pass its stream and whether an accelerator is there; ``pretended_cuda.cpp`` answers. torch asks
early and remembers, so the extension is loaded before torch, in a process that does nothing else.
"""

import ctypes
import importlib.util
import os
from pathlib import Path
from unittest import mock

SOURCE = Path(__file__).with_name("pretended_cuda.cpp")


def build(folder: Path) -> Path:
    """Compile the extension without loading it, once for all processes that name the folder."""
    import torch
    from torch.utils import cpp_extension

    folder.mkdir(parents=True, exist_ok=True)
    with mock.patch.object(torch.ops, "load_library"):
        cpp_extension.load(
            SOURCE.stem, [str(SOURCE)], build_directory=str(folder), is_python_module=False
        )
    return folder / f"{SOURCE.stem}.so"


def load(library: Path) -> None:
    """Load the extension, before anybody has imported torch."""
    spec = importlib.util.find_spec("torch")
    assert spec
    assert spec.origin
    for name in (Path(spec.origin).parent / "lib" / "libtorch_cpu.so", library):
        ctypes.CDLL(os.fspath(name), ctypes.RTLD_GLOBAL)


def why_not() -> str:
    """Return why this machine cannot build the extension; "" if it can."""
    import platform
    import shutil

    import torch
    from torch.utils import cpp_extension

    if platform.system() != "Linux":
        return "the extension is written for Linux"
    if torch.backends.cuda.is_built():
        return "this torch has CUDA, whose own code would answer"
    compiler = cpp_extension.get_cxx_compiler()
    if shutil.which(compiler) is None or not cpp_extension.is_ninja_available():
        return f"no C++ compiler ({compiler}), or no ninja"
    return ""
