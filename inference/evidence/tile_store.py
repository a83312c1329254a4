"""What is kept of an estimate under way, so that nothing is lost with it."""

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
from pyro_vae.inference.evidence.method import Figures, Method
from pyro_vae.inference.evidence.tiles import Tiles
from pyro_vae.program.bound_program import BoundProgram

EVERY = 20.0  # seconds between two saves


class Kept:
    """The finished tiles of one estimate, in a file; or nowhere, if ``path`` is None.

    :param rank: of the process that works with others on the same estimate: each writes a file of its
        own beside ``path``, and all of them are read.
    """

    def __init__(self, path: Path | str | None, record: Mapping[str, Any], rank: int = 0) -> None:
        self.path = None if path is None else Path(path)
        self.record, self.rank = dict(record), rank
        if self.path is not None and not self.path.parent.is_dir():
            raise InputError(f"there is no folder {self.path.parent} to keep {self.path.name} in")
        self.saved_at = time.monotonic()

    def read(self) -> dict[int, Figures]:
        """The tiles that are done, by number.

        :raises InputError: the file is damaged, or of another estimate.
        """
        done: dict[int, Figures] = {}
        for path in self._files():
            tensors, found = checkpoint.read(path)
            mine = self.record
            unlike = [key for key, value in mine.items() if not _alike(found.get(key), value)]
            if unlike:
                raise self.refusal(", ".join(unlike))
            for name, value in tensors.items():
                number, _, figure = name.partition("/")
                done.setdefault(int(number), {})[figure] = value
        return done

    def refusal(self, what: str) -> InputError:
        return InputError(
            f"{self.path} is of another estimate ({what} differ): finish that one, or remove the file"
        )

    def save(self, done: Mapping[int, Figures], at_once: bool = False) -> None:
        """Writes the file anew, if the last time is a while ago."""
        if self.path is None or not done:
            return
        if not at_once and time.monotonic() - self.saved_at < EVERY:
            return
        tensors = {f"{n}/{name}": value for n, tile in done.items() for name, value in tile.items()}
        mine = self.path.with_name(f"{self.path.name}.{self.rank}") if self.rank else self.path
        checkpoint.write(mine, tensors, self.record)
        self.saved_at = time.monotonic()

    def remove(self) -> None:
        for path in self._files() if self.rank == 0 else ():
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        if self.path is None:
            return []
        beside = self.path.parent.glob(f"{self.path.name}.*")
        of_others = (p for p in beside if p.name[len(self.path.name) + 1 :].isdigit())
        return [p for p in (self.path, *of_others) if p.exists()]


def checksum_of(call: BoundProgram) -> Tensor:
    """Of a call's arguments, shape ``1 |``, int64."""
    leaves = tree_leaves((call.args, dict(call.kwargs)))
    tensors = {str(i): a.detach().cpu() for i, a in enumerate(leaves) if isinstance(a, Tensor)}
    return torch.tensor([checkpoint.checksum(tensors)])


def _alike(one: Any, other: Any) -> bool:
    if isinstance(other, list):  # of numbers, which another number of threads may round otherwise
        pairs = zip(one or [], other, strict=False)
        return len(one or []) == len(other) and all(math.isclose(*p, rel_tol=1e-4) for p in pairs)
    return bool(one == other)


def record_of(tiles: Tiles, method: Method, num_particles: int) -> dict[str, Any]:
    """What must be the same for tiles of two calls to belong together."""
    example = tiles.example
    modules = example.program.modules.items()
    tensors = {f"{n}/{name}": t for n, module in modules for name, t in module.state_dict().items()}
    tensors |= {f"store/{name}": value for name, value in pyro.get_param_store().items()}
    pyro.set_rng_seed(tiles.seed)  # what else makes up a program shows in what it draws
    log_weights = example.draw(1).log_weights[0]
    options = json.dumps(asdict(method), default=lambda f: getattr(f, "__qualname__", str(type(f))))
    return {
        "method": f"{type(method).__name__} {options}",
        "num_particles": num_particles,
        "seed": tiles.seed,
        "unit": example.structure.unit,
        "units": tiles.units,
        "guide": log_weights.nan_to_num().tolist(),
        "parameters": checkpoint.checksum({n: t.detach().cpu() for n, t in tensors.items()}),
    }
