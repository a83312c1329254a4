"""Image files -> rows of 8-bit pixels, in memory or read on access."""

import functools
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
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

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")  # none that runs a program
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
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA"))


def read_images(files: Sequence[Path], image_size: int | None) -> tuple[Rows, list[str]]:
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
