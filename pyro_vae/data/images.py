"""Folders of image files -> rows of 8-bit pixels, in memory or read as they are asked for."""

import functools
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pyro_vae.data.rows import LazyRows, Rows, nbytes, read_all
from pyro_vae.data.sources import Part, Source, shuffled
from pyro_vae.errors import InputError

IN_MEMORY_BYTES = 2**31  # a folder that takes more than this, as pixels, is read lazily

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
_SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}


class ImageFiles(LazyRows):
    """Image files as rows (N, C, H, W) of uint8, decoded when they are indexed.

    An image of another size is brought to (H, W): scaled to cover it and cut about the centre.
    """

    def __init__(self, paths: Sequence[Path], event_shape: tuple[int, int, int]) -> None:
        self.paths = tuple(paths)
        self.shape = torch.Size((len(self.paths), *event_shape))
        self.dtype = torch.uint8

    def __getitem__(self, index: Tensor) -> Tensor:
        pixels = _threads().map(self._decode, (self.paths[i] for i in index.tolist()))
        images = list(pixels)
        if not images:
            return torch.empty((0, *self.shape[1:]), dtype=torch.uint8)
        return torch.from_numpy(np.stack(images))

    def _decode(self, path: Path) -> npt.NDArray[np.uint8]:
        from PIL import Image, ImageOps

        channels, height, width = self.shape[1:]
        try:
            with Image.open(path) as file:
                image: Image.Image = file.convert("L" if channels == 1 else "RGB")
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"the image {path} is damaged or unreadable: {error}") from error
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)
        return np.array(image, dtype=np.uint8).reshape(height, width, channels).transpose(2, 0, 1)

    def subset(self, index: Tensor) -> "ImageFiles":
        channels, height, width = self.shape[1:]
        return ImageFiles([self.paths[i] for i in index.tolist()], (channels, height, width))

    def identity(self) -> bytes:
        names = (f"{p.parent.name}/{p.name} {p.stat().st_size}" for p in self.paths)
        return "\n".join(names).encode()


@functools.cache
def _threads() -> ThreadPoolExecutor:
    # Pillow lets go of the interpreter lock while it decodes
    return ThreadPoolExecutor(min(16, os.cpu_count() or 1), thread_name_prefix="pyro_vae-images")


def read_folder(path: Path, image_size: int | None, seed: int) -> Source:
    """A folder of images. Subfolders train, validation (valid, val) and test are its splits;
    subfolders of these, or of the folder itself, are classes.

    :param image_size: height and width to bring all images to; None if they are all alike.
    :raises InputError: there are no images, or images of unlike sizes, or one is unreadable.
    """
    folders = {
        split: path / name
        for split, names in _SPLITS.items()
        for name in names
        if (path / name).is_dir()
    }
    if "train" not in folders:
        files, names = _labelled([path])
        x = _images(path, [file for file, _ in files], image_size)
        return shuffled(Part(x, _codes(files, names)), seed, class_names=names)
    if "test" not in folders:
        raise InputError(f"{path} has a folder train but no folder test")
    order = [s for s in ("train", "validation", "test") if s in folders]
    files, names = _labelled([folders[s] for s in order])
    inside = [[f for f, _ in files if f.is_relative_to(folders[s])] for s in order]
    x = _images(path, [file for file, _ in files], image_size)
    whole, rows = Part(x, _codes(files, names)), torch.arange(len(files))
    num_test = len(inside[-1])
    num_validation = len(inside[1]) if "validation" in order else 0
    return Source(
        whole.subset(rows[:-num_test]), num_validation, whole.subset(rows[-num_test:]), names
    )


def _labelled(folders: Iterable[Path]) -> tuple[list[tuple[Path, str]], tuple[str, ...] | None]:
    """The image files of the folders, in order, each with its class, and all classes' names."""
    files: list[tuple[Path, str]] = []
    for folder in folders:
        found = sorted(
            f for f in folder.rglob("[!.]*") if f.suffix.lower() in _ENDINGS and f.is_file()
        )
        if not found:
            raise InputError(
                f"there are no images in {folder}; known endings: {', '.join(sorted(_ENDINGS))}"
            )
        files += [(f, f.relative_to(folder).parts[0] if f.parent != folder else "") for f in found]
    names = tuple(sorted({name for _, name in files}))
    if names == ("",):
        return files, None
    if "" in names:
        stray = next(file for file, name in files if not name)
        raise InputError(
            f"{stray} lies beside the folders {', '.join(names[1:4])}, which are taken for "
            "classes; put every image into a class's folder, or all into one folder"
        )
    return files, names


def _codes(files: Sequence[tuple[Path, str]], names: tuple[str, ...] | None) -> Tensor | None:
    if names is None:
        return None
    code = {name: number for number, name in enumerate(names)}
    return torch.tensor([code[name] for _, name in files])


def _images(folder: Path, files: Sequence[Path], image_size: int | None) -> Rows:
    headers = list(_threads().map(_header, files))
    channels = 1 if all(grey for grey, _ in headers) else 3
    width, height = headers[0][1]
    if image_size is not None:
        width = height = image_size
    else:
        for file, (_, size) in zip(files, headers, strict=True):
            if size != (width, height):
                raise InputError(
                    f"the images in {folder} are of unlike sizes ({files[0].name} is "
                    f"{width}x{height}, {file.name} is {size[0]}x{size[1]}): give one with "
                    "image_size=64 (--image_size 64)"
                )
    rows = ImageFiles(files, (channels, height, width))
    return rows if nbytes(rows) > IN_MEMORY_BYTES else read_all(rows)


def _header(path: Path) -> tuple[bool, tuple[int, int]]:
    """Whether an image is grey, and its (width, height), without decoding it."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            mode, size = image.mode, image.size
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"the image {path} is damaged or unreadable: {error}") from error
    if mode.startswith(("I", "F")):
        raise InputError(
            f"the image {path} has more than 8 bits per pixel; save such images as one .npy array"
        )
    return mode in ("1", "L", "LA"), size
