"""What a posterior is of: a program, and the data that it is given."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from pyro_vae.inference.compiling.precision import on_cuda
from pyro_vae.inference.evidence.tiles import Tiles, fitting_units, open_tiles
from pyro_vae.program.bound_program import BoundProgram


@dataclass(frozen=True)
class Source:
    """Hold a program and its data, to be opened again for predictions from the same posterior.

    Attributes:
        program: a model and guide.
        data: rows, or None where ``args`` and ``kwargs`` are the arguments of one call.
        args: positional arguments of that call.
        kwargs: its named ones.
        unit: the plate of the units that the user has named, if any.
        device: where to compute.
        num_particles: K, which the tiles are cut for.
    """

    program: Any
    data: Any
    args: tuple[Any, ...] | None
    kwargs: Mapping[str, Any] | None
    unit: str | None
    device: str | torch.device
    num_particles: int

    @contextmanager
    def open(self, seed: int | None) -> Iterator[Tiles]:
        """Check the program on the data, and leave it afterwards as it was."""

        def size(example: BoundProgram) -> int:
            return fitting_units(example, num_particles=self.num_particles)

        units: Callable[[BoundProgram], int] = size
        opened = open_tiles(
            self.program, self.data, self.unit, seed, self.device, units, self.args, self.kwargs
        )
        with on_cuda("ieee"), opened as tiles:
            yield tiles
