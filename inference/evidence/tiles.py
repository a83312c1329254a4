"""Data cut into tiles of units, each with its own noise, so that memory never changes a figure."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vae.allocations import Allocations
from pyro_vae.data import Batches, batches
from pyro_vae.device import for_device, resolve
from pyro_vae.errors import InputError, report_user_errors
from pyro_vae.inference.compiling.onednn import linear_by_onednn
from pyro_vae.inference.evidence.binding import bind, bind_rows
from pyro_vae.inference.evidence.cutting import Cut, cut_into_units
from pyro_vae.inference.evidence.example import bind_example
from pyro_vae.inference.evidence.method import part_size
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.call_arguments import call_arguments
from pyro_vae.program.contract import Program, as_program, signature
from pyro_vae.program.examination import examine
from pyro_vae.program.isolation import as_found, seed_all, undisturbed
from pyro_vae.program.one_thread import one_thread

# A tile holds so many units, and takes so many particles at a time, that their tensors have this many
# bytes: small ones are soon computed, and Python, which is called for each block, would take most of the
# time, on one core. There are no fewer units than the first number, so that processes can share little
# data, and no more than the second; then so for particles. By the kind of device.
BYTES_PER_BLOCK = {"cpu": 2**25, "cuda": 2**29}
UNITS_PER_TILE = {"cpu": (64, 512), "cuda": (512, 4096)}
PARTICLES_PER_BLOCK = {"cpu": (512, 2**14), "cuda": (512, 2**17)}


@dataclass(frozen=True)
class Tiles:
    """Hold the calls of a program on some units each.

    Attributes:
        example: the call on the first few units; the only call, where the data cannot be cut: for given
            arguments, a joint evidence, or a guide with parameters for each datum.
        seed: of all noise.
        rows: the data, or None for a call with given arguments.
        index: the numbers of each tile's rows.
        initial: the program's state before any call, restored before a call of another size.
        notes: sentences on the program and on how it was cut.
        same_noise: whether all tiles start from one state of the generators.
    """

    example: BoundProgram
    seed: int
    rows: Batches | None
    index: Sequence[Tensor]
    initial: as_found
    notes: tuple[str, ...] = ()
    same_noise: bool = False

    @property
    def num_units(self) -> int:
        """The number of units of all tiles."""
        return sum(map(len, self.index))

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[BoundProgram]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> BoundProgram:
        """Return one tile's call, and seed the generators for its noise."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        bound_program = self._bound(number)
        if self.same_noise:  # binding has drawn, as often as the tile has rows
            seed_all(self._seed_of(number))
        return bound_program

    def _seed_of(self, number: int) -> int:
        return (self.seed + (0 if self.same_noise else 1_000_003 * number)) % 2**32

    def _bound(self, number: int) -> BoundProgram:
        seed_all(self._seed_of(number))
        example, index = self.example, self.index[number]
        if self.rows is None or not example.by_rows:
            return example
        if len(index) != example.structure.num_units:
            self.initial.restore()  # a guide may keep something of the last call's size
        try:
            unit, known = example.structure.unit, example.examined
            bound_program = bind_rows(
                example.program, self.rows, unit, index, strict=False, known=known
            )
        except InputError as error:
            raise error.at(f"rows {int(index[0]):,} to {int(index[-1]):,}") from error
        return replace(
            example,
            structure=bound_program.structure,
            args=bound_program.args,
            examined=bound_program.examined,
            pair=None,
            program=bound_program.program,
        )


@contextmanager
def open_tiles(
    program: Any,
    data: Any = None,
    unit: str | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
    units_per_tile: Callable[[BoundProgram], int] | None = None,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> Iterator[Tiles]:
    """Check a program on data, for evaluation on its device, and leave it afterwards as it was.

    Args:
        program: a model and guide.
        data: as :func:`pyro_vae.log_evidence` takes them.
        unit: the plate of the units, or None for the outermost that holds every site.
        seed: of the noise, or None to continue from torch's generator.
        device: where to compute.
        units_per_tile: the example -> at most how many; by default what suits 512 particles.
        args: with ``kwargs``, the arguments of one call, in place of data.
        kwargs: its named arguments.

    Raises:
        InputError: the program does not fit the data or the arguments.
    """
    target = as_program(program)
    rows, args_of_call, named = None, tuple[Any, ...](), dict[str, Any]()
    if data is not None and args is None and kwargs is None:
        rows = _open_rows(target, data, device)
    else:
        args_of_call, named = call_arguments(data, args, kwargs)
        if named.keys() & inspect.signature(examine).parameters.keys():  # a name that is taken
            model, guide = (partial(f, **named) for f in (target.model, target.guide))
            target, named = replace(target, model=model, guide=guide), {}
    with one_thread():  # before the program is remembered: another thread may be training it
        initial = as_found(target.modules, target.model, target.guide)
        with undisturbed(target, seed), initial, torch.no_grad(), linear_by_onednn():
            with report_user_errors():
                if rows is None:
                    example = bind(target, unit, args_of_call, named, by_rows=False)
                else:
                    example = bind_example(target, rows, unit, initial)
                base = int(torch.randint(2**31, ()))
                cut: Cut = cut_into_units(example, rows, unit, initial)
            with pyro.validation_enabled(False):
                index = _index(cut.example, rows, units_per_tile or fitting_units)
                yield Tiles(cut.example, base, rows, index, initial, cut.notes)


def _index(
    example: BoundProgram, rows: Batches | None, units_per_tile: Callable[[BoundProgram], int]
) -> Sequence[Tensor]:
    """Return the numbers of the units of each tile."""
    if rows is None or not example.by_rows:
        return [torch.arange(example.structure.num_units)]
    most = units_per_tile(example)
    numbers, size = torch.arange(rows.num_units), part_size(rows.num_units, most)
    return numbers.tensor_split(-(-rows.num_units // size))


def fitting_units(example: BoundProgram, num_particles: int | None = None) -> int:
    """Return how many units a tile holds, for blocks of so many particles: a power of two.

    It follows from the sizes of the program's tensors. Neither the memory nor the machine counts, so that a
    seed gives the same figures anywhere.
    """
    single, device = example.single(), example.device
    with Allocations() as allocations:
        single.joint(1, single.guide(1))
    bytes_of_one = allocations.bytes / example.structure.num_units
    least, _ = for_device(PARTICLES_PER_BLOCK, device)
    times = min(num_particles or least, least)
    return _fitting(bytes_of_one * times, for_device(UNITS_PER_TILE, device), device)


def fitting_particles(bytes_of_one: float, num_units: int, device: torch.device) -> int:
    """Return how many particles of so many units are drawn together at most: a power of two.

    Args:
        bytes_of_one: that one particle of one unit allocates.
        num_units: of a tile.
        device: where they are drawn.
    """
    return _fitting(bytes_of_one * num_units, for_device(PARTICLES_PER_BLOCK, device), device)


def _fitting(bytes_of_one: float, limits: tuple[int, int], device: torch.device) -> int:
    """Return the power of two, within limits, that makes a block."""
    least, most = limits
    fitting = int(for_device(BYTES_PER_BLOCK, device) / max(1, bytes_of_one))
    return min(max(1 << max(0, fitting.bit_length() - 1), least), most)


def _open_rows(program: Program, data: Any, device: str | torch.device) -> Batches:
    for tensor in data if isinstance(data, tuple) else (data,):
        if isinstance(tensor, Tensor) and tensor.layout != torch.strided:
            raise InputError(
                f"the data are a {tensor.layout} tensor",
                subject="data",
                remedy="pass data.to_dense()",
            )
    target_device = resolve(device)
    for module in program.modules.values():
        module.to(target_device)
    return batches(data, target_device, signature(program))
