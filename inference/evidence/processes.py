"""Several processes that share one estimate, under torch.distributed."""

from typing import Any, TypeVar

import torch
from torch import distributed

T = TypeVar("T")


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if _is_initialized() else 0


def num_processes() -> int:
    """Return how many processes there are."""
    return distributed.get_world_size() if _is_initialized() else 1


def share(num_tiles: int, seed: int) -> list[int]:
    """Return the numbers of the tiles that this process estimates.

    They are in random order, since data are often sorted: an interrupted estimate is then of a random part
    of the data.
    """
    order = torch.randperm(num_tiles, generator=torch.Generator().manual_seed(seed))
    return order[rank() :: num_processes()].tolist()


def gather(done: dict[int, T]) -> dict[int, T]:
    """Return the tiles that all processes have estimated, by number."""
    if num_processes() == 1:
        return done
    parts: list[Any] = [None] * num_processes()
    distributed.all_gather_object(parts, done)
    return {number: tile for part in parts for number, tile in part.items()}


def _is_initialized() -> bool:
    return distributed.is_available() and distributed.is_initialized()
