"""The file that holds the finished tiles of an estimate, so that an interrupted one can be resumed."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from pyro_vae import checkpoint
from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.method import Method
from pyro_vae.inference.evidence.tiles import Tiles
from pyro_vae.inference.evidence.unit_estimates import UnitEstimates, from_tensors
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.particles import draw

SAVE_INTERVAL = 20.0  # seconds
CHECKSUM = "checksum"  # of a tile's data, among its tensors in the file


class TileStore:
    """Hold the finished tiles of one estimate, by number, and save them to a file if there is a path.

    Args:
        path: the file, or None.
        fingerprint: of the estimate; a file with another one is refused.
        rank: of this process; each of several writes a file of its own next to ``path``, and reads all.

    Raises:
        InputError: the folder is missing; the file is damaged, or of another estimate.
    """

    def __init__(
        self, path: Path | str | None, fingerprint: Mapping[str, Any], rank: int = 0
    ) -> None:
        self.path = None if path is None else Path(path)
        self.fingerprint, self.rank = dict(fingerprint), rank
        self.done: dict[int, UnitEstimates] = {}
        self._checksums: dict[int, Tensor] = {}
        if self.path is not None and not self.path.parent.is_dir():
            raise InputError(
                f"there is no folder {self.path.parent} for {self.path.name}",
                subject=str(self.path.parent),
            )
        for file in self._files():
            self._read(file)
        self._saved_at = time.monotonic()

    def _read(self, file: Path) -> None:
        tensors, fingerprint = checkpoint.read(file)
        differing = [
            name
            for name, value in self.fingerprint.items()
            if not _is_close(fingerprint.get(name), value)
        ]
        if differing:
            raise self._refusal(", ".join(differing))
        tiles: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            tile, _, estimate = name.partition("/")
            tiles.setdefault(int(tile), {})[estimate] = value
        for number, values in tiles.items():
            self._checksums[number] = values.pop(CHECKSUM)
            self.done[number] = from_tensors(values)

    def check_data(self, tiles: Tiles) -> None:
        """Check that the tiles that were read are of these data.

        Raises:
            InputError: they are not.
        """
        for number, checksum in self._checksums.items():
            if not torch.equal(checksum, checksum_of_arguments(tiles[number])):
                raise self._refusal("the data")

    def _refusal(self, differing: str) -> InputError:
        return InputError(
            f"{self.path} is of another estimate ({differing} differ)",
            subject=str(self.path),
            remedy="finish that one, or remove the file",
        )

    def add(self, number: int, estimates: UnitEstimates, bound_program: BoundProgram) -> None:
        """Add a finished tile, and save all if the last time is a while ago."""
        self.done[number] = estimates
        if self.path is not None:  # the checksum copies the data to the host
            self._checksums[number] = checksum_of_arguments(bound_program)
            if time.monotonic() - self._saved_at >= SAVE_INTERVAL:
                self.save()

    def save(self) -> None:
        """Write the file of this process, if there are a path and finished tiles."""
        if self.path is None or not self.done:
            return
        tensors = {
            f"{number}/{name}": value
            for number, estimates in self.done.items()
            for name, value in (
                *estimates.to_tensors().items(),
                (CHECKSUM, self._checksums[number]),
            )
        }
        own = self.path.with_name(f"{self.path.name}.{self.rank}") if self.rank else self.path
        checkpoint.write(own, tensors, self.fingerprint)
        self._saved_at = time.monotonic()

    def remove(self) -> None:
        """Remove the files of all processes."""
        for file in self._files() if self.rank == 0 else ():
            file.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        if self.path is None:
            return []
        siblings = self.path.parent.glob(f"{self.path.name}.*")
        of_others = (p for p in siblings if p.name[len(self.path.name) + 1 :].isdigit())
        return [p for p in (self.path, *of_others) if p.exists()]


def checksum_of_arguments(bound_program: BoundProgram) -> Tensor:
    """Return the checksum of a call's tensors, shape ``1 |``, int64."""
    leaves = tree_leaves((bound_program.args, dict(bound_program.kwargs)))
    tensors = {str(i): a.detach().cpu() for i, a in enumerate(leaves) if isinstance(a, Tensor)}
    return torch.tensor([checkpoint.checksum(tensors)])


def _is_close(one: Any, other: Any) -> bool:
    if isinstance(other, list):  # of numbers, which depend on the number of threads by rounding
        pairs = zip(one or [], other, strict=False)
        return len(one or []) == len(other) and all(math.isclose(*p, rel_tol=1e-4) for p in pairs)
    return bool(one == other)


def fingerprint_of(tiles: Tiles, method: Method, num_particles: int) -> dict[str, Any]:
    """Return the facts that tiles of two calls must share to belong to one estimate."""
    example = tiles.example
    modules = example.program.modules.items()
    tensors = {f"{n}/{name}": t for n, module in modules for name, t in module.state_dict().items()}
    tensors |= {f"store/{name}": value for name, value in pyro.get_param_store().items()}
    pyro.set_rng_seed(tiles.seed)  # the draws show whatever else a program is made of
    log_weights = draw(example, 1).log_weights[0]
    options = json.dumps(asdict(method), default=lambda f: getattr(f, "__qualname__", str(type(f))))
    return {
        "method": f"{type(method).__name__} {options}",
        "num_particles": num_particles,
        "seed": tiles.seed,
        "unit": example.structure.unit,
        "units": tiles.num_units,
        "guide": log_weights.nan_to_num().tolist(),
        "parameters": checkpoint.checksum({n: t.detach().cpu() for n, t in tensors.items()}),
    }
