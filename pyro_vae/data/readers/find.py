"""Which reader a name gets: a named data set, a file of a known ending, or a folder of images."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pyro_vae.data.readers.archives import read_npz
from pyro_vae.data.readers.arrays import read_npy
from pyro_vae.data.readers.h5ad import read_h5ad
from pyro_vae.data.readers.image_folders import read_folder
from pyro_vae.data.readers.matlab import read_mat
from pyro_vae.data.readers.named_sets import NAMED, NamedSetOptions
from pyro_vae.data.readers.options import OF_TABLES, ReadOptions
from pyro_vae.data.readers.source import Source
from pyro_vae.data.readers.tables import read_table
from pyro_vae.data.readers.text import TEXTS, ending, is_packed
from pyro_vae.errors import InputError, first_line, report_read_errors, unknown

ROOT_VARIABLE = "PYRO_VAE_DATA"
_OF_TEXT = OF_TABLES | {"separator", "decimal", "header"}
_OF_ARCHIVES = frozenset({"pixels", "label", "unseen", "array"})
_READERS: dict[str, tuple[Callable[[Path, ReadOptions], Source], frozenset[str], str]] = {
    ".npy": (read_npy, frozenset({"pixels"}), "a .npy file, which is one array"),
    ".npz": (read_npz, _OF_ARCHIVES, "an archive of arrays"),
    ".mat": (read_mat, _OF_ARCHIVES, "a .mat file"),
    ".h5ad": (read_h5ad, frozenset({"label", "unseen", "array", "columns"}), "a .h5ad file"),
    ".csv": (read_table, _OF_TEXT, "a table of text"),
    ".tsv": (read_table, _OF_TEXT, "a table of text"),
    ".txt": (read_table, _OF_TEXT, "a table of text"),
    ".parquet": (read_table, OF_TABLES, "a .parquet file"),
}
ENDINGS = tuple(_READERS)  # of text also with .gz


def read_source(
    name: str, options: ReadOptions, *, root: Path | str | None = None, download: bool = False
) -> Source:
    """Read a named data set, a file or a folder, as :func:`load` describes, before any preprocessing."""
    path = Path(name).expanduser()
    if name in NAMED:
        options.check_options(NAMED[name].options, name)
        return _read_named(name, root, download, options)
    if (name and _exists(path)) or ending(path) in ENDINGS or len(path.parts) > 1:
        with report_read_errors(path):
            return _read_path(path, options)
    raise _unknown_name(name)


def _unknown_name(name: str) -> InputError:
    problem = f"there is no data set, file or folder {name!r}"
    listing = "a name that `pyro-vae data` lists"
    error = unknown(problem, name.lower(), NAMED, subject=name, listing=listing)
    expected = f"{error.expected}, or a path: a folder of images, {', '.join(ENDINGS)}"
    return InputError(problem, subject=name, expected=expected, remedy=error.remedy)


def _exists(path: Path) -> bool:
    with report_read_errors(path):  # a name may be too long
        return path.exists()


def _read_named(name: str, root: Path | str | None, download: bool, options: ReadOptions) -> Source:
    entry = NAMED[name]
    folder = _data_root(root)
    is_there = not entry.files or (folder is not None and entry.is_there(folder))
    if not is_there:
        if not (download and entry.downloadable):
            raise _not_there(name, folder)
        if folder is None:
            raise InputError(
                f"the folder to download {name} to is not named",
                subject=name,
                remedy=f"name it by --data_root FOLDER (root=) or {ROOT_VARIABLE}",
            )
    try:
        return entry.read(NamedSetOptions(folder or Path(), download, options))
    except InputError:
        raise
    except Exception as error:  # torchvision's readers raise all kinds
        reason = first_line(error)
        if not is_there:
            raise InputError(
                f"{name} could not be downloaded to {folder}: {reason}", subject=name
            ) from error
        with_option = " with --download" if entry.downloadable else ""
        raise InputError(
            f"{name} in {folder} is damaged or incomplete ({reason})",
            subject=name,
            remedy=f"remove {entry.files[0]} there and fetch it again{with_option}",
        ) from error


def _data_root(root: Path | str | None) -> Path | None:
    if root is None:
        root = os.environ.get(ROOT_VARIABLE) or None
    return None if root is None else Path(root).expanduser()


def _not_there(name: str, root: Path | None) -> InputError:
    entry, problem = NAMED[name], f"{name} is not {f'in {root}' if root else 'here'}"
    remedy = "pass --download (download=True) to fetch it"
    if not entry.downloadable:
        problem += " and cannot be downloaded"
        remedy = f"put {entry.files[0]} there"
    return InputError(
        problem,
        subject=name,
        remedy=f"{remedy}, or name its folder by --data_root FOLDER (root=) or {ROOT_VARIABLE}",
    )


def _read_path(path: Path, options: ReadOptions) -> Source:
    if not path.exists():
        raise InputError(f"there is no file or folder {path}", subject=str(path))
    if path.is_dir():
        options.check_options({"image_size"}, "a folder of images")
        return read_folder(path, options.image_size, options.seed)
    if ending(path) not in _READERS or (is_packed(path) and ending(path) not in TEXTS):
        raise InputError(
            f"{path} has an unknown ending",
            subject=str(path),
            expected=f"{', '.join(ENDINGS)} (.gz for text alone), or a folder",
        )
    read, known, what = _READERS[ending(path)]
    options.check_options(known, what)
    return read(path, options)


def options_for(name: str) -> frozenset[str]:
    """Return the options of :func:`load` that apply to a named set, or to a file of that name."""
    if name in NAMED:
        return NAMED[name].options
    return _READERS[ending(Path(name))][1] if ending(Path(name)) in _READERS else frozenset()


def is_table(name: str) -> bool:
    """Return whether a name is that of a table."""
    return options_for(name) >= OF_TABLES


class AvailableSet(NamedTuple):
    """Describe a named data set, and say whether it is there."""

    name: str
    description: str
    status: str


def available(root: Path | str | None = None) -> list[AvailableSet]:
    """Return the named data sets, and which of them are below ``root`` (by default ``PYRO_VAE_DATA``).

    >>> available()[0].status
    'built in'
    """
    folder = _data_root(root)
    return [
        AvailableSet(name, entry.description, _status(name, folder))
        for name, entry in NAMED.items()
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
