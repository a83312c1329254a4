"""The device to compute on."""

from collections.abc import Mapping
from typing import TypeVar

import torch

from pyro_vae.errors import InputError, must_be

REMEDY = "use cpu or auto"
T = TypeVar("T")


def resolve(device: str | torch.device = "auto") -> torch.device:
    """Return the device of a name; "auto" is the first CUDA GPU if there is one, otherwise the CPU.

    Raises:
        InputError: there is no such device.

    >>> resolve("cpu")
    device(type='cpu')
    """
    if not isinstance(device, str | torch.device):
        raise must_be("device", "the name of a device", device, remedy=REMEDY)
    if device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        count = torch.cuda.device_count()
        raise InputError(
            f"device {str(device)!r} is not there: torch {torch.__version__} finds "
            f"{count or 'no'} CUDA GPU{'' if count == 1 else 's'}",
            subject="device",
            remedy=REMEDY,
        ) from error
    return resolved


def for_device(table: Mapping[str, T], device: torch.device) -> T:
    """Return the entry for a kind of device; that of the CPU, where it has none of its own.

    >>> for_device({"cpu": 64, "cuda": 512}, torch.device("cuda:0"))
    512
    """
    return table.get(device.type, table["cpu"])
