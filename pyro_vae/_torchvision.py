"""torchvision, imported in one place and only when something needs it."""

import functools
import importlib
from types import ModuleType

import torch

from pyro_vae.errors import InputError

_libraries: list[torch.library.Library] = []  # an operator lives as long as its library


@functools.cache
def torchvision() -> ModuleType:
    """The torchvision package, also where its binary part does not match the installed torch.

    A torchvision that was built for CUDA fails to import beside a CPU build of torch, for want of
    two operators that nothing here calls. Their schemas are declared then, and only then, and the
    import is tried again.

    :raises InputError: torchvision is not installed, or does not import for another reason.
    """
    try:
        return importlib.import_module("torchvision")
    except ImportError as error:
        raise InputError(f"this needs torchvision, which does not import: {error}") from error
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)
    return importlib.import_module("torchvision")
