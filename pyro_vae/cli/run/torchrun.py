"""Several processes that share a task, started by ``torchrun``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from pyro_vae.errors import InputError, first_line


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that ``torchrun`` started; do nothing for a single one."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    try:
        distributed.init_process_group("gloo")  # the processes exchange a few numbers, on the CPU
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"the processes cannot connect: {first_line(error)}",
            subject="WORLD_SIZE",
            remedy="start them by torchrun",
        ) from error
    try:
        yield
    finally:
        distributed.destroy_process_group()


def local_device(device: str) -> str:
    """Return ``device``, or instead of "auto" this process's own GPU among those of its machine."""
    gpus = torch.cuda.device_count()
    if device == "auto" and "LOCAL_RANK" in os.environ and gpus:
        return f"cuda:{int(os.environ['LOCAL_RANK']) % gpus}"
    return device


def is_main_process() -> bool:
    """Return whether this is the process that prints."""
    return os.environ.get("RANK", "0") == "0"
