"""The import of torchvision, in one place and only when something needs it."""

import functools
import importlib
from types import ModuleType

import torch

from pyro_vae.errors import InputError

_libraries: list[torch.library.Library] = []  # an operator lives as long as its library


@functools.cache
def torchvision() -> ModuleType:
    """Import torchvision, even if its binary part does not match the installed torch.

    A CUDA build of torchvision fails to import with a CPU build of torch, because two operators are
    missing that nothing here calls. In that case their schemas are declared, and the import is tried again.

    Raises:
        InputError: torchvision is not installed, or does not import for another reason.
    """
    try:
        return importlib.import_module("torchvision")
    except ImportError as error:
        raise InputError(
            f"this needs torchvision, which does not import: {error}",
            subject="torchvision",
            remedy="install the torchvision that belongs to the installed torch",
        ) from error
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)
    return importlib.import_module("torchvision")
