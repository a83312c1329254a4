"""Folders of images: the files that are images, the subfolders that are splits and classes."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from pyro_vae.data.readers.images import read_images
from pyro_vae.data.readers.source import Source, SourceRows, shuffled_source, split_source
from pyro_vae.errors import InputError

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
_BY_PROGRAMS = (".", "__")  # first letters of what programs leave behind (__MACOSX, __pycache__)


def read_folder(path: Path, image_size: int | None, seed: int) -> Source:
    """Read a folder of images.

    Subfolders train (training), validation (valid, val) and test (testing), in small letters or large, are
    its splits; subfolders of these, or of the folder itself, are classes. Hidden files and folders, and
    those that begin with ``__``, are passed over. Without splits a tenth of the images is for the
    test, and as many for validation. An image is turned as its EXIF data say; what is transparent is white.

    Args:
        path: the folder.
        image_size: height and width of all images; None keeps their own if they are all alike, and
            otherwise takes 64, or the median of their shorter sides if that is less.
        seed: of the order of rows without splits.

    Raises:
        InputError: there are no images, or one is unreadable.
    """
    folders = _splits(path)
    if "train" not in folders:
        if folders:
            raise _lacks(path, "train", next(iter(folders.values())).name)
        files, names = _labelled([path])
        x, remarks = read_images([file for file, _ in files], image_size)
        rows = SourceRows(x, _codes(files, names))
        return shuffled_source(rows, seed, class_names=names, remarks=remarks)
    if "test" not in folders:
        raise _lacks(path, "test", folders["train"].name)
    order: list[str] = [s for s in ("train", "validation", "test") if s in folders]
    files, names = _labelled([folders[s] for s in order])
    sizes = {s: sum(file.is_relative_to(folders[s]) for file, _ in files) for s in order}
    x, remarks = read_images([file for file, _ in files], image_size)
    rows = SourceRows(x, _codes(files, names))
    return split_source(rows, sizes, class_names=names, remarks=remarks)


def _lacks(path: Path, split: str, other: str) -> InputError:
    return InputError(
        f"{path} has a folder {other} but no folder {split}",
        subject=str(path),
        remedy=f"rename a folder to {split}, or move some images there",
    )


def _splits(path: Path) -> dict[str, Path]:
    """Return the subfolders that are splits.

    Raises:
        InputError: two folders are the same split, or one that has images is not a split.
    """
    inside = [f for f in sorted(path.iterdir()) if f.is_dir() and _is_by_user(f)]
    named = {
        split: [f for f in inside if f.name.lower() in names] for split, names in _SPLITS.items()
    }
    for split, candidates in named.items():
        if len(candidates) > 1:
            raise InputError(
                f"{path} has the folders {' and '.join(f.name for f in candidates)}",
                subject=str(path),
                expected=f"one folder with the {split} images",
            )
    splits = {split: folders[0] for split, folders in named.items() if folders}
    strays = [f for f in inside if f not in splits.values()]
    if strays and ("train" not in splits or len(splits) == 1):
        return {}  # a class may be called train, like car and bus
    if strays:
        names = ", ".join(f.name for f in splits.values())
        raise InputError(
            f"{path} has splits ({names}) and the folder {strays[0].name}",
            subject=str(path),
            remedy=f"move {strays[0].name} away, or put classes into the splits",
        )
    return splits


def _is_by_user(path: Path) -> bool:
    """Return whether a file or folder is the user's, not one that a program left behind."""
    return not path.name.startswith(_BY_PROGRAMS)


def _image_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not _is_by_user(path):
            continue
        if path.is_dir():
            yield from _image_files(path)
        elif path.suffix.lower() in _ENDINGS and path.is_file():
            yield path


def _labelled(folders: Iterable[Path]) -> tuple[list[tuple[Path, str]], tuple[str, ...] | None]:
    """Return the image files of the folders, in order, each with its class, and all classes' names."""
    files: list[tuple[Path, str]] = []
    for folder in folders:
        images = list(_image_files(folder))
        if not images:
            raise InputError(
                f"there are no images in {folder}",
                subject=str(folder),
                expected=f"files that end in {', '.join(sorted(_ENDINGS))}",
            )
        files += [(f, _class(folder, f)) for f in images]
    names = tuple(sorted({name for _, name in files}))
    if names == ("",):
        return files, None
    if "" in names:
        stray = next(file for file, name in files if not name)
        raise InputError(
            f"the image {stray} has no class, but others do ({', '.join(names[1:4])})",
            subject=str(stray),
            remedy="put each image into the folder of its class, or all into one folder",
        )
    return files, names


def _class(folder: Path, file: Path) -> str:
    """Return the name of a file's subfolder, with bytes that are not UTF-8 written out."""
    name = file.relative_to(folder).parts[0] if file.parent != folder else ""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _codes(files: Sequence[tuple[Path, str]], names: tuple[str, ...] | None) -> Tensor | None:
    if names is None:
        return None
    code = {name: number for number, name in enumerate(names)}
    return torch.tensor([code[name] for _, name in files])
