"""Files that a verb is asked to write: never over another, never half of one."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from pyro_vae import pictures
from pyro_vae.errors import InputError
from pyro_vae.files import replacing

ARRAYS = ".npz"


def add_out(parser: ArgumentParser, default: str) -> None:
    endings = ", ".join((*pictures.ENDINGS, ARRAYS))
    parser.add_argument("--out", type=str, default=default, help=f"the file to write ({endings})")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")


def out_path(options: Namespace) -> Path:
    """Where to write.

    :raises InputError: the file is there, its folder is not, or its ending is unknown.
    """
    return free_path(Path(options.out), options.overwrite, (*pictures.ENDINGS, ARRAYS))


def free_path(path: Path, overwrite: bool, endings: Sequence[str], option: str = "--out") -> Path:
    """``path``, if it can be written to and its ending is a known one.

    :raises InputError: what :func:`out_path` says.
    """
    if path.suffix.lower() not in endings:
        known = ", ".join(endings)
        raise InputError(f"{option} {path} has no ending that says what to write: {known}")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} to write {path.name} to")
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already: choose another {option}, or pass --overwrite")
    return path


def is_arrays(path: Path) -> bool:
    """Whether arrays are asked for, not a picture."""
    return path.suffix.lower() == ARRAYS


def write_arrays(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """Writes tensors as an .npz in one step."""
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        np.savez(file, allow_pickle=False, **{n: x.cpu().numpy() for n, x in arrays.items()})
