"""Folders of image files -> rows of 8-bit pixels, in memory or read on access."""

import functools
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from math import prod
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pyro_vae.data.readers.source import Source, SourceRows, shuffled_source
from pyro_vae.data.refusals import damaged
from pyro_vae.data.rows import LazyRows, Rows, nbytes, read_all
from pyro_vae.errors import InputError
from pyro_vae.memory import check_fits

if TYPE_CHECKING:
    from PIL import Image

IN_MEMORY_BYTES = 2**31  # a folder with more pixels than this is read lazily
USUAL_SIZE = 64  # height and width of images of different sizes
MOST_PIXELS = 2**26  # of one image; a larger one takes a gigabyte to decode
LARGE = 2**22  # pixels; such images are decoded one at a time

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # none that runs a program
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
_NOT_CLASSES = (
    "__",
)  # first letters of folders that programs leave behind (__MACOSX, __pycache__)
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF: height and width change places
_SCALE_DOWN = "scale it down"
_one_at_a_time = threading.Lock()


class ImageFiles(LazyRows):
    """Read image files as rows (N, C, H, W) of uint8 when they are indexed.

    An image of another size is scaled to cover (H, W) and cut about the centre.
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
        with _opened(path) as file, _one_at_a_time if _is_large(file) else nullcontext():
            image = _opaque(ImageOps.exif_transpose(file)).convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)
        return np.array(image, dtype=np.uint8).reshape(height, width, channels).transpose(2, 0, 1)

    def subset(self, index: Tensor) -> "ImageFiles":
        """Return the files numbered ``index``."""
        channels, height, width = self.shape[1:]
        return ImageFiles([self.paths[i] for i in index.tolist()], (channels, height, width))

    def identity(self) -> bytes:
        """Return the names and the sizes of the files."""
        names = (f"{p.parent.name}/{p.name} {p.stat().st_size}" for p in self.paths)
        return os.fsencode("\n".join(names))


@functools.cache
def _threads() -> ThreadPoolExecutor:
    # Pillow releases the interpreter lock while it decodes
    return ThreadPoolExecutor(min(16, os.cpu_count() or 1), thread_name_prefix="pyro_vae-images")


@contextmanager
def _opened(path: Path) -> Iterator["Image.Image"]:
    """Open an image and check its size; nothing is decoded yet.

    Raises:
        InputError: it is not an image, damaged, or too large.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a size between ours and Pillow's, of odd metadata
        try:
            with Image.open(path, formats=_FORMATS) as image:
                _check_size(path, image)
                yield image
        except InputError:
            raise
        except Image.DecompressionBombError as error:
            raise InputError(
                f"the image {path} is too large: {error}", subject=str(path), remedy=_SCALE_DOWN
            ) from error
        except Exception as error:  # Pillow's readers raise all kinds
            raise damaged(path, error, "an image") from error


def _check_size(path: Path, image: "Image.Image") -> None:
    width, height = image.size
    if not 0 < width * height <= MOST_PIXELS:
        raise InputError(
            f"the image {path} has {width}x{height} pixels",
            subject=str(path),
            expected=f"at most {MOST_PIXELS:,}",
            remedy=_SCALE_DOWN,
        )


def _is_large(image: "Image.Image") -> bool:
    return image.width * image.height > LARGE


def _opaque(image: "Image.Image") -> "Image.Image":
    """Return the image, with white behind what is transparent."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), seen)


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
        x, remarks = _images([file for file, _ in files], image_size)
        rows = SourceRows(x, _codes(files, names))
        return shuffled_source(rows, seed, class_names=names, remarks=remarks)
    if "test" not in folders:
        raise _lacks(path, "test", folders["train"].name)
    order = [s for s in ("train", "validation", "test") if s in folders]
    files, names = _labelled([folders[s] for s in order])
    inside = [[f for f, _ in files if f.is_relative_to(folders[s])] for s in order]
    x, remarks = _images([file for file, _ in files], image_size)
    whole, index = SourceRows(x, _codes(files, names)), torch.arange(len(files))
    num_test = len(inside[-1])
    num_validation = len(inside[1]) if "validation" in order else 0
    pool, test = whole.subset(index[:-num_test]), whole.subset(index[-num_test:])
    return Source(pool, num_validation, test, names, remarks=remarks)


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
    inside = [f for f in sorted(path.iterdir()) if f.is_dir() and _counts(f)]
    named = {
        split: [f for f in inside if f.name.lower() in names] for split, names in _SPLITS.items()
    }
    for split, found in named.items():
        if len(found) > 1:
            raise InputError(
                f"{path} has the folders {' and '.join(f.name for f in found)}",
                subject=str(path),
                expected=f"one folder with the {split} images",
            )
    splits = {split: found[0] for split, found in named.items() if found}
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


def _counts(path: Path) -> bool:
    """Return whether a file or folder is the user's, not one that a program left behind."""
    return not path.name.startswith((".", *_NOT_CLASSES))


def _image_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not _counts(path):
            continue
        if path.is_dir():
            yield from _image_files(path)
        elif path.suffix.lower() in _ENDINGS and path.is_file():
            yield path


def _labelled(folders: Iterable[Path]) -> tuple[list[tuple[Path, str]], tuple[str, ...] | None]:
    """Return the image files of the folders, in order, each with its class, and all classes' names."""
    files: list[tuple[Path, str]] = []
    for folder in folders:
        found = list(_image_files(folder))
        if not found:
            raise InputError(
                f"there are no images in {folder}",
                subject=str(folder),
                expected=f"files that end in {', '.join(sorted(_ENDINGS))}",
            )
        files += [(f, _class(folder, f)) for f in found]
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


def _images(files: Sequence[Path], image_size: int | None) -> tuple[Rows, list[str]]:
    """Return the images of the files, all of one size, and a remark if they had several."""
    headers, remarks = list(_threads().map(_header, files)), []
    channels = 1 if all(grey for grey, _ in headers) else 3
    sizes = {size for _, size in headers}
    if image_size is None and len(sizes) > 1:
        image_size = min(USUAL_SIZE, int(median(min(size) for _, size in headers)))
        least, largest = (f"{w}x{h}" for w, h in (f(sizes, key=prod) for f in (min, max)))
        remarks = [
            f"the images have sizes from {least} to {largest} and are brought to "
            f"{image_size}x{image_size} (--image_size)"
        ]
    width, height = headers[0][1] if image_size is None else (image_size, image_size)
    one = channels * height * width
    check_fits(f"one image of {width}x{height}", 16 * one, "a smaller image_size (--image_size 64)")
    rows = ImageFiles(files, (channels, height, width))
    return (rows if nbytes(rows) > IN_MEMORY_BYTES else read_all(rows)), remarks


def _header(path: Path) -> tuple[bool, tuple[int, int]]:
    """Return whether an image is grey, and its (width, height) once turned, without decoding it."""
    with _opened(path) as image:
        mode, (width, height) = image.mode, image.size
        turned = image.getexif().get(_ORIENTATION) in _TURNED
    if mode.startswith(("I", "F")):
        raise InputError(
            f"the image {path} has more than 8 bits per pixel",
            subject=str(path),
            remedy="save such images as one .npy array",
        )
    return mode in ("1", "L", "LA"), (height, width) if turned else (width, height)
