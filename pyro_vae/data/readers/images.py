"""Folders of image files -> rows of 8-bit pixels, in memory or read as they are asked for."""

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

from pyro_vae.data.rows import LazyRows, Rows, nbytes, read_all
from pyro_vae.data.sources import Part, Source, shuffled
from pyro_vae.errors import InputError
from pyro_vae.memory import check_fits

if TYPE_CHECKING:
    from PIL import Image

IN_MEMORY_BYTES = 2**31  # a folder that takes more than this, as pixels, is read lazily

USUAL_SIZE = 64  # height and width of images of unlike sizes
MOST_PIXELS = 2**26  # of one image; a larger one takes a gigabyte to decode
LARGE = 2**22  # pixels; such images are decoded one at a time

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # none that runs a program
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val"),
    "test": ("test", "testing"),
}
_NOT_CLASSES = ("__",)  # how folders begin that programs leave behind (__MACOSX, __pycache__)
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF: height and width change places
_one_at_a_time = threading.Lock()


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
        with _opened(path) as file, _one_at_a_time if _is_large(file) else nullcontext():
            image = _opaque(ImageOps.exif_transpose(file)).convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), method=Image.Resampling.BILINEAR)
        return np.array(image, dtype=np.uint8).reshape(height, width, channels).transpose(2, 0, 1)

    def subset(self, index: Tensor) -> "ImageFiles":
        channels, height, width = self.shape[1:]
        return ImageFiles([self.paths[i] for i in index.tolist()], (channels, height, width))

    def identity(self) -> bytes:
        names = (f"{p.parent.name}/{p.name} {p.stat().st_size}" for p in self.paths)
        return os.fsencode("\n".join(names))


@functools.cache
def _threads() -> ThreadPoolExecutor:
    # Pillow lets go of the interpreter lock while it decodes
    return ThreadPoolExecutor(min(16, os.cpu_count() or 1), thread_name_prefix="pyro_vae-images")


@contextmanager
def _opened(path: Path) -> Iterator["Image.Image"]:
    """An image whose size has been looked at, and that nothing is decoded of yet.

    :raises InputError: it is no image, damaged, or too large.
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
            raise InputError(f"the image {path} is absurdly large: {error}") from error
        except Exception as error:  # Pillow's readers raise all kinds
            raise InputError(f"the image {path} is damaged or unreadable: {error}") from error


def _check_size(path: Path, image: "Image.Image") -> None:
    width, height = image.size
    if not 0 < width * height <= MOST_PIXELS:
        raise InputError(
            f"the image {path} has {width}x{height} pixels; up to {MOST_PIXELS:,} are read: scale it down"
        )


def _is_large(image: "Image.Image") -> bool:
    return image.width * image.height > LARGE


def _opaque(image: "Image.Image") -> "Image.Image":
    """The image on white paper, where something of it is transparent."""
    from PIL import Image

    if not image.has_transparency_data:
        return image
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), seen)


def read_folder(path: Path, image_size: int | None, seed: int) -> Source:
    """A folder of images. Subfolders train (training), validation (valid, val) and test (testing), in
    small letters or large, are its splits; subfolders of these, or of the folder itself, are classes.
    Hidden files and folders, and those that begin with ``__``, are passed over.

    A tenth of the training images is for validation where there is no such folder, and another for the
    test. An image is turned as its EXIF data say; what is transparent is white.

    :param image_size: height and width to bring all images to; None: as they are, if they are all alike,
        else to 64, or to the median of their shorter sides if that is less.
    :raises InputError: there are no images, or one is unreadable.
    """
    folders = _splits(path)
    if "train" not in folders:
        if folders:
            raise InputError(
                f"{path} has a folder {next(iter(folders.values())).name} but no folder train"
            )
        files, names = _labelled([path])
        x, remarks = _images([file for file, _ in files], image_size)
        return shuffled(Part(x, _codes(files, names)), seed, class_names=names, remarks=remarks)
    if "test" not in folders:
        raise InputError(
            f"{path} has a folder train but no folder test; rename one, or move some images there"
        )
    order = [s for s in ("train", "validation", "test") if s in folders]
    files, names = _labelled([folders[s] for s in order])
    inside = [[f for f, _ in files if f.is_relative_to(folders[s])] for s in order]
    x, remarks = _images([file for file, _ in files], image_size)
    whole, rows = Part(x, _codes(files, names)), torch.arange(len(files))
    num_test = len(inside[-1])
    num_validation = len(inside[1]) if "validation" in order else 0
    pool, test = whole.subset(rows[:-num_test]), whole.subset(rows[-num_test:])
    return Source(pool, num_validation, test, names, remarks=remarks)


def _splits(path: Path) -> dict[str, Path]:
    """The subfolders that are splits.

    :raises InputError: two of them would be the same one, or a folder with images is none of them.
    """
    inside = [f for f in sorted(path.iterdir()) if f.is_dir() and _counts(f)]
    named = {
        split: [f for f in inside if f.name.lower() in names] for split, names in _SPLITS.items()
    }
    for split, found in named.items():
        if len(found) > 1:
            raise InputError(
                f"{path} has the folders {' and '.join(f.name for f in found)}, each of which could be "
                f"its {split} images: leave one"
            )
    splits = {split: found[0] for split, found in named.items() if found}
    strays = [f for f in inside if f not in splits.values()]
    if strays and ("train" not in splits or len(splits) == 1):
        return {}  # a class may be called train, beside car and bus
    if strays:
        raise InputError(
            f"{path} has splits ({', '.join(f.name for f in splits.values())}) and the folder "
            f"{strays[0].name}, which is none: move it away, or put classes into the splits"
        )
    return splits


def _counts(path: Path) -> bool:
    """Whether a file or folder is a person's, not a program's own."""
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
    """The image files of the folders, in order, each with its class, and all classes' names."""
    files: list[tuple[Path, str]] = []
    for folder in folders:
        found = list(_image_files(folder))
        if not found:
            raise InputError(
                f"there are no images in {folder}; known endings: {', '.join(sorted(_ENDINGS))}"
            )
        files += [(f, _class(folder, f)) for f in found]
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


def _class(folder: Path, file: Path) -> str:
    """The name of the subfolder that a file is in, bytes that are no UTF-8 written out."""
    name = file.relative_to(folder).parts[0] if file.parent != folder else ""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _codes(files: Sequence[tuple[Path, str]], names: tuple[str, ...] | None) -> Tensor | None:
    if names is None:
        return None
    code = {name: number for number, name in enumerate(names)}
    return torch.tensor([code[name] for _, name in files])


def _images(files: Sequence[Path], image_size: int | None) -> tuple[Rows, list[str]]:
    """The images of the files, all of one size, and what is to be said of that."""
    headers, remarks = list(_threads().map(_header, files)), []
    channels = 1 if all(grey for grey, _ in headers) else 3
    sizes = {size for _, size in headers}
    if image_size is None and len(sizes) > 1:
        image_size = min(USUAL_SIZE, int(median(min(size) for _, size in headers)))
        least, largest = (f"{w}x{h}" for w, h in (f(sizes, key=prod) for f in (min, max)))
        remarks = [
            f"the images are of unlike sizes, from {least} to {largest}, and are brought to "
            f"{image_size}x{image_size} (--image_size)"
        ]
    width, height = headers[0][1] if image_size is None else (image_size, image_size)
    one = channels * height * width
    check_fits(f"one image of {width}x{height}", 16 * one, "a smaller image_size (--image_size 64)")
    rows = ImageFiles(files, (channels, height, width))
    return (rows if nbytes(rows) > IN_MEMORY_BYTES else read_all(rows)), remarks


def _header(path: Path) -> tuple[bool, tuple[int, int]]:
    """Whether an image is grey, and its (width, height) as it is to be seen, without decoding it."""
    with _opened(path) as image:
        mode, (width, height) = image.mode, image.size
        turned = image.getexif().get(_ORIENTATION) in _TURNED
    if mode.startswith(("I", "F")):
        raise InputError(
            f"the image {path} has more than 8 bits per pixel; save such images as one .npy array"
        )
    return mode in ("1", "L", "LA"), (height, width) if turned else (width, height)
