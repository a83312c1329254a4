"""The data sets with a name: what each is, where it lies below the data root, how it is read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyro_vae._torchvision import torchvision
from pyro_vae.data.readers.arrays import to_rows
from pyro_vae.data.readers.images import ImageFiles
from pyro_vae.data.sources import Part, Source, permutation, shuffled
from pyro_vae.errors import InputError


class Request(NamedTuple):
    """Where to look for a named set, whether it may be fetched, and how large images are to be."""

    root: Path
    download: bool
    image_size: int | None


@dataclass(frozen=True)
class NamedSet:
    """A data set by name: ``files`` are what shows that it is there (any one of them does)."""

    description: str
    read: Callable[[Request], Source]
    files: tuple[str, ...] = ()
    downloadable: bool = True

    def is_there(self, root: Path) -> bool:
        return not self.files or any((root / file).exists() for file in self.files)


def _digits(request: Request) -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.from_numpy(digits.images.astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target.astype(np.int64))
    # the split is the same for every seed, so that figures compare
    names = tuple(map(str, range(10)))
    return shuffled(Part(x, labels), 0, num_test=200, class_names=names, levels=17)


def _mnist_like(kind: str, *, upright: bool = True, **options: Any) -> Callable[[Request], Source]:
    def read(request: Request) -> Source:
        dataset = getattr(torchvision().datasets, kind)
        pool, test = (
            dataset(request.root, train=train, download=request.download, **options)
            for train in (True, False)
        )
        parts = [
            Part((s.data if upright else s.data.transpose(1, 2)).unsqueeze(1), s.targets.long())
            for s in (pool, test)
        ]
        return Source(parts[0], min(10_000, len(pool) // 6), parts[1], tuple(pool.classes))

    return read


def _cifar10(request: Request) -> Source:
    dataset = torchvision().datasets.CIFAR10
    pool, test = (dataset(request.root, train=t, download=request.download) for t in (True, False))
    parts = [Part(to_rows(s.data, "cifar10"), torch.tensor(s.targets)) for s in (pool, test)]
    return Source(parts[0], len(parts[0]) // 10, parts[1], tuple(pool.classes))


def _svhn(request: Request) -> Source:
    dataset = torchvision().datasets.SVHN
    splits = [dataset(request.root, split=s, download=request.download) for s in ("train", "test")]
    pool, test = (
        Part(to_rows(s.data, "svhn"), torch.from_numpy(s.labels.astype(np.int64))) for s in splits
    )
    return Source(pool, len(pool) // 10, test, tuple(map(str, range(10))))


def _celeba(request: Request) -> Source:
    dataset = torchvision().datasets.CelebA
    size = request.image_size or 64
    splits = [
        dataset(request.root, split=split, download=request.download)
        for split in ("train", "valid", "test")
    ]
    folder = Path(request.root) / "celeba" / "img_align_celeba"
    train, valid, test = ([folder / name for name in split.filename] for split in splits)
    shape = (3, size, size)
    return Source(Part(ImageFiles(train + valid, shape)), len(valid), Part(ImageFiles(test, shape)))


def _omniglot(request: Request) -> Source:
    packed = request.root / "Omniglot28" / "omniglot_28x28.npz"
    if packed.exists():
        with np.load(packed, allow_pickle=False) as archive:
            ink = np.unpackbits(archive["ink"], axis=2)[..., :784]  # (character, drawer | pixel)
        sets = [
            Part(
                torch.from_numpy(part.reshape(-1, 1, 28, 28)),
                torch.arange(first, first + len(part)).repeat_interleave(part.shape[1]),
            )
            for part, first in ((ink[:964], 0), (ink[964:], 964))
        ]
    else:
        dataset = torchvision().datasets.Omniglot
        sets = [
            _nearest_pixels(dataset(request.root, background=b, download=request.download), first)
            for b, first in ((True, 0), (False, 964))
        ]
    pool, test = sets
    # rows are ordered by character: the last ones would be characters that are not trained on
    pool = pool.subset(permutation(len(pool), 0))
    return Source(pool, len(pool) // 10, test)


def _nearest_pixels(items: Sequence[tuple[Any, int]], first: int) -> Part:
    """Drawings of 105x105, ink black, as 28x28, ink = 1."""
    index = ((np.arange(28) + 0.5) * 105 / 28).astype(int)
    rows, labels = [], []
    for image, label in items:
        rows.append(np.array(image.convert("L"))[np.ix_(index, index)] < 128)
        labels.append(first + label)
    return Part(torch.from_numpy(np.stack(rows)[:, None].astype(np.uint8)), torch.tensor(labels))


_CHARDATA = ("chardata.mat", "OMNIGLOT/chardata.mat", "omniglot/chardata.mat")


def _omniglot_iwae(request: Request) -> Source:
    from scipy.io import loadmat  # type: ignore[attr-defined]

    path = next(request.root / file for file in _CHARDATA if (request.root / file).exists())
    content = loadmat(path)
    pool, test = (Part(_upright(content[key], str(path))) for key in ("data", "testdata"))
    pool = pool.subset(permutation(len(pool), 0))
    # 23,000 / 1,345 is how the literature divides the training images
    return Source(pool, min(1345, len(pool) // 10), test)


def _upright(columns: Any, where: str) -> Tensor:
    """(784, N) images, each stored column by column, as (N, 1, 28, 28)."""
    return to_rows(columns.T.reshape(-1, 28, 28).transpose(0, 2, 1), where)


_BINARIZED = "BinarizedMNIST/binarized_mnist"


def _binarized_mnist(request: Request) -> Source:
    packed = request.root / f"{_BINARIZED}.npz"
    if packed.exists():
        with np.load(packed, allow_pickle=False) as archive:
            sets = [np.unpackbits(archive[s], axis=1)[:, :784] for s in ("train", "valid", "test")]
    else:
        sets = [_amat(request.root / f"{_BINARIZED}_{s}.amat") for s in ("train", "valid", "test")]
    train, valid, test = (torch.from_numpy(s.reshape(-1, 1, 28, 28)) for s in sets)
    return Source(Part(torch.cat([train, valid])), len(valid), Part(test))


def _amat(path: Path) -> Any:
    """Rows of 784 characters 0 and 1, set apart by blanks."""
    characters = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    bits = characters[~np.isin(characters, list(b" \t\r\n"))] - ord("0")
    if len(bits) % 784 or (bits > 1).any():
        raise InputError(f"{path} is damaged: it should hold rows of 784 zeros and ones")
    return bits.reshape(-1, 784)


def _raw(folder: str, stem: str = "train") -> tuple[str, ...]:
    return (f"{folder}/raw/{stem}-images-idx3-ubyte",)


NAMED: dict[str, NamedSet] = {
    "digits": NamedSet("1,797 handwritten digits, 8x8, 17 grey levels (scikit-learn's)", _digits),
    "mnist": NamedSet(
        "70,000 handwritten digits, 28x28, grey", _mnist_like("MNIST"), _raw("MNIST")
    ),
    "fashion-mnist": NamedSet(
        "70,000 pieces of clothing, 28x28, grey", _mnist_like("FashionMNIST"), _raw("FashionMNIST")
    ),
    "kmnist": NamedSet(
        "70,000 cursive Japanese characters, 28x28, grey", _mnist_like("KMNIST"), _raw("KMNIST")
    ),
    "emnist": NamedSet(
        "131,600 handwritten letters and digits (balanced), 28x28, grey",
        _mnist_like("EMNIST", split="balanced", upright=False),
        _raw("EMNIST", "emnist-balanced-train"),
    ),
    "omniglot": NamedSet(
        "32,460 drawings of 1,623 characters, 28x28, binary",
        _omniglot,
        ("Omniglot28/omniglot_28x28.npz", "omniglot-py/images_background"),
    ),
    "omniglot-iwae": NamedSet(
        "24,345 / 8,070 drawings as in the IWAE paper, 28x28, grey (chardata.mat)",
        _omniglot_iwae,
        _CHARDATA,
        downloadable=False,
    ),
    "binarized-mnist": NamedSet(
        "MNIST in the fixed binarisation of Larochelle and Murray (2011)",
        _binarized_mnist,
        (f"{_BINARIZED}.npz", f"{_BINARIZED}_train.amat"),
        downloadable=False,
    ),
    "svhn": NamedSet("99,289 house numbers, 32x32, colour", _svhn, ("train_32x32.mat",)),
    "cifar10": NamedSet(
        "60,000 small photographs of 10 kinds, 32x32, colour", _cifar10, ("cifar-10-batches-py",)
    ),
    "celeba": NamedSet(
        "202,599 faces, colour, cut to 64x64 unless image_size says otherwise; read lazily",
        _celeba,
        ("celeba/img_align_celeba",),
    ),
}
