"""Where data are found by their name: a named set, a file of a known ending, or a folder of images."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pyro_vae.data.named import NAMED, Request
from pyro_vae.data.readers.archives import read_npz
from pyro_vae.data.readers.arrays import read_npy
from pyro_vae.data.readers.h5ad import read_h5ad
from pyro_vae.data.readers.images import read_folder
from pyro_vae.data.readers.matlab import read_mat
from pyro_vae.data.readers.tables import read_table
from pyro_vae.data.readers.text import TEXTS, ending, is_packed
from pyro_vae.data.reading import Reading
from pyro_vae.data.sources import Source
from pyro_vae.errors import InputError, nearest, report_read_errors

ROOT_VARIABLE = "PYRO_VAE_DATA"
_OF_TABLES = frozenset({"label", "unseen", "arguments", "columns", "kinds", "id"})
_OF_TEXT = _OF_TABLES | {"separator", "decimal", "header"}
_OF_ARCHIVES = frozenset({"pixels", "label", "unseen", "array"})
_READERS: dict[str, tuple[Callable[[Path, Reading], Source], frozenset[str], str]] = {
    ".npy": (read_npy, frozenset({"pixels"}), "a .npy file, which is one array"),
    ".npz": (read_npz, _OF_ARCHIVES, "an archive of arrays"),
    ".mat": (read_mat, _OF_ARCHIVES, "a .mat file"),
    ".h5ad": (read_h5ad, frozenset({"label", "unseen", "array", "columns"}), "a .h5ad file"),
    ".csv": (read_table, _OF_TEXT, "a table of text"),
    ".tsv": (read_table, _OF_TEXT, "a table of text"),
    ".txt": (read_table, _OF_TEXT, "a table of text"),
    ".parquet": (read_table, _OF_TABLES, "a .parquet file"),
}
ENDINGS = tuple(_READERS)  # of text also with .gz


def source_of(
    name: str, how: Reading, *, root: Path | str | None = None, download: bool = False
) -> Source:
    """What a named data set, a file, or a folder gives, before any treatment; as :func:`load` says."""
    path = Path(name).expanduser()
    if name in NAMED:
        how.check_only({"image_size"} if name == "celeba" else (), name)
        return _read_named(name, root, download, how.image_size)
    if (name and _exists(path)) or ending(path) in ENDINGS or len(path.parts) > 1:
        with report_read_errors(path):
            return _read_path(path, how)
    raise InputError(
        f"there is no data set or file {name!r}{nearest(name.lower(), NAMED)} "
        f"(or a path: a folder of images, {', '.join(ENDINGS)})"
    )


def _exists(path: Path) -> bool:
    with report_read_errors(path):  # a name may be too long
        return path.exists()


def _read_named(name: str, root: Path | str | None, download: bool, size: int | None) -> Source:
    entry = NAMED[name]
    folder = _root(root)
    there = not entry.files or (folder is not None and entry.is_there(folder))
    if not there:
        if not (download and entry.downloadable):
            raise InputError(_missing(name, folder))
        if folder is None:
            raise InputError(
                f"say where to download {name} to: --data_root FOLDER (root=), or {ROOT_VARIABLE}"
            )
    try:
        return entry.read(Request(folder or Path(), download, size))
    except InputError:
        raise
    except Exception as error:  # torchvision's readers raise all kinds
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        if not there:
            raise InputError(f"{name} could not be downloaded to {folder}: {reason}") from error
        raise InputError(
            f"{name} in {folder} is damaged or incomplete ({reason}): remove {entry.files[0]} "
            f"there and fetch it again{' with --download' if entry.downloadable else ''}"
        ) from error


def _root(root: Path | str | None) -> Path | None:
    if root is None:
        root = os.environ.get(ROOT_VARIABLE) or None
    return None if root is None else Path(root).expanduser()


def _missing(name: str, root: Path | None) -> str:
    entry = NAMED[name]
    where = f"{name} is not in {root}" if root else f"{name} is not here"
    place = f"name the folder that has it: --data_root FOLDER (root=), or {ROOT_VARIABLE}"
    if entry.downloadable:
        return f"{where}: pass --download (download=True) to fetch it, or {place}"
    return f"{where}, and it cannot be downloaded: put {entry.files[0]} there, or {place}"


def _read_path(path: Path, reading: Reading) -> Source:
    if not path.exists():
        raise InputError(f"there is no file or folder {path}")
    if path.is_dir():
        reading.check_only({"image_size"}, "a folder of images")
        return read_folder(path, reading.image_size, reading.seed)
    if ending(path) not in _READERS or (is_packed(path) and ending(path) not in TEXTS):
        raise InputError(
            f"{path} has an unknown ending; known: {', '.join(ENDINGS)}, or a folder (.gz: text alone)"
        )
    read, options, what = _READERS[ending(path)]
    reading.check_only(options, what)
    return read(path, reading)


def options_of(name: str) -> frozenset[str]:
    """The options of :func:`load` that say how a file of that name is read."""
    return _READERS[ending(Path(name))][1] if ending(Path(name)) in _READERS else frozenset()


class Listing(NamedTuple):
    """A data set that ``load`` knows by name, and whether it is there."""

    name: str
    description: str
    status: str


def available(root: Path | str | None = None) -> list[Listing]:
    """The named data sets, and which of them are below ``root`` (by default ``PYRO_VAE_DATA``).

    >>> available()[0].status
    'built in'
    """
    folder = _root(root)
    return [
        Listing(name, entry.description, _status(name, folder)) for name, entry in NAMED.items()
    ]


def _status(name: str, root: Path | None) -> str:
    entry = NAMED[name]
    if not entry.files:
        return "built in"
    if root is not None and entry.is_there(root):
        return f"there, in {root}"
    if entry.downloadable:
        return "not there; --download fetches it"
    return f"not there; put {entry.files[0]} into {root or 'the data root'}"
