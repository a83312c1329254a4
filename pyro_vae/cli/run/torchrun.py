"""Several processes on one task, as ``torchrun`` starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from pyro_vae.errors import InputError


@contextmanager
def process_group() -> Iterator[None]:
    """Joins the processes that ``torchrun`` has started; one alone has nothing to join."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    try:
        distributed.init_process_group("gloo")  # only figures are exchanged, and those on the host
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the processes do not find each other: {str(error).splitlines()[0]}; start them by torchrun"
        ) from error
    try:
        yield
    finally:
        distributed.destroy_process_group()


def local_device(device: str) -> str:
    """With "auto", the GPU of this process among those of its machine."""
    gpus = torch.cuda.device_count()
    if device == "auto" and "LOCAL_RANK" in os.environ and gpus:
        return f"cuda:{int(os.environ['LOCAL_RANK']) % gpus}"
    return device


def is_main_process() -> bool:
    """Whether this process is the one that prints."""
    return os.environ.get("RANK", "0") == "0"
