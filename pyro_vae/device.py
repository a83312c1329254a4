"""Which device: the one asked for, or the best that is there."""

import torch

from pyro_vae.errors import InputError


def resolve(device: str | torch.device = "auto") -> torch.device:
    """The device named, with "auto" the first CUDA GPU, or else the CPU.

    :raises InputError: a device that is not there.

    >>> resolve("cpu")
    device(type='cpu')
    """
    if device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        found = torch.cuda.device_count()
        raise InputError(
            f"device {str(device)!r} is not there: torch {torch.__version__} finds "
            f"{found or 'no'} CUDA GPU{'' if found == 1 else 's'}; use cpu or auto"
        ) from error
    return resolved
