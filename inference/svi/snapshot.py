"""The state of a run at the start of an epoch."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyro_vae.inference.svi.run_storage import Position
from pyro_vae.program.generators import RngState


@dataclass(frozen=True)
class Snapshot:
    """Hold what a run needs to take an epoch again."""

    learnt: dict[str, Tensor]
    optimizer: dict[str, Any]
    generators: RngState
    position: Position
    total: Tensor
    best: dict[str, Tensor]
