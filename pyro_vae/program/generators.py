"""The state of the generators that a model may draw from: torch's on every device, NumPy's and Python's."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

RngState = Mapping[str, Any]  # of each kind of generator


def rng_state() -> RngState:
    """Return the state of every global generator that a model may draw from."""
    return {
        **torch_rng_state(),
        "numpy": np.random.get_state(),  # noqa: NPY002 - Pyro users draw from the global one
        "python": random.getstate(),
    }


def torch_rng_state() -> RngState:
    """Return the state of torch's generators alone, on the CPU and every GPU: a microsecond's work."""
    cuda = torch.cuda.is_initialized() and torch.cuda.is_available()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if cuda else [],
    }


def set_rng_state(state: RngState) -> None:
    """Restore the generators that a state is of."""
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    if "numpy" in state:
        np.random.set_state(state["numpy"])  # noqa: NPY002
        random.setstate(state["python"])


@contextmanager
def generators_as_found() -> Iterator[None]:
    """Restore every global generator afterwards, the devices' too."""
    before = rng_state()
    try:
        yield
    finally:
        set_rng_state(before)
