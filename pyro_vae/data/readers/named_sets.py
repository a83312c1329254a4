"""The named data sets: their descriptions, their files below the data root, their readers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pyro_vae._torchvision import torchvision
from pyro_vae.data.readers.arrays import to_rows
from pyro_vae.data.readers.images import ImageFiles
from pyro_vae.data.readers.options import OF_TABLES, ReadOptions
from pyro_vae.data.readers.source import Source, SourceRows, permutation, shuffled_source
from pyro_vae.data.readers.sprites import sprites
from pyro_vae.data.readers.tables import read_table, source_of_frame
from pyro_vae.errors import InputError


class NamedSetOptions(NamedTuple):
    """Say where a named set is, whether to download it, and how to read it."""

    root: Path
    download: bool
    reading: ReadOptions = ReadOptions()


@dataclass(frozen=True)
class NamedSet:
    """Describe a named data set; any one of ``files`` shows that it is there."""

    description: str
    read: Callable[[NamedSetOptions], Source]
    files: tuple[str, ...] = ()
    downloadable: bool = True
    options: frozenset[str] = frozenset()  # of ReadOptions, that apply to it

    def is_there(self, root: Path) -> bool:
        """Return whether one of its files is below ``root``."""
        return not self.files or any((root / file).exists() for file in self.files)


def _digits(options: NamedSetOptions) -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = torch.from_numpy(digits.images.astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target.astype(np.int64))
    # one split for every seed, so that figures compare
    names = tuple(map(str, range(10)))
    return shuffled_source(SourceRows(x, labels), 0, num_test=200, class_names=names, levels=17)


def _mnist_like(
    kind: str, *, upright: bool = True, **more: Any
) -> Callable[[NamedSetOptions], Source]:
    def read(options: NamedSetOptions) -> Source:
        dataset = getattr(torchvision().datasets, kind)
        pool, test = (
            dataset(options.root, train=train, download=options.download, **more)
            for train in (True, False)
        )
        parts = [
            SourceRows(
                (s.data if upright else s.data.transpose(1, 2)).unsqueeze(1), s.targets.long()
            )
            for s in (pool, test)
        ]
        return Source(parts[0], min(10_000, len(pool) // 6), parts[1], tuple(pool.classes))

    return read


def _cifar10(options: NamedSetOptions) -> Source:
    dataset = torchvision().datasets.CIFAR10
    pool, test = (dataset(options.root, train=t, download=options.download) for t in (True, False))
    parts = [SourceRows(to_rows(s.data, "cifar10"), torch.tensor(s.targets)) for s in (pool, test)]
    return Source(parts[0], len(parts[0]) // 10, parts[1], tuple(pool.classes))


def _svhn(options: NamedSetOptions) -> Source:
    dataset = torchvision().datasets.SVHN
    splits = [dataset(options.root, split=s, download=options.download) for s in ("train", "test")]
    pool, test = (
        SourceRows(to_rows(s.data, "svhn"), torch.from_numpy(s.labels.astype(np.int64)))
        for s in splits
    )
    return Source(pool, len(pool) // 10, test, tuple(map(str, range(10))))


def _celeba(options: NamedSetOptions) -> Source:
    dataset = torchvision().datasets.CelebA
    size = options.reading.image_size or 64
    splits = [
        dataset(options.root, split=split, download=options.download)
        for split in ("train", "valid", "test")
    ]
    folder = Path(options.root) / "celeba" / "img_align_celeba"
    train, valid, test = ([folder / name for name in split.filename] for split in splits)
    shape = (3, size, size)
    return Source(
        SourceRows(ImageFiles(train + valid, shape)),
        len(valid),
        SourceRows(ImageFiles(test, shape)),
    )


def _omniglot(options: NamedSetOptions) -> Source:
    packed = options.root / "Omniglot28" / "omniglot_28x28.npz"
    if packed.exists():
        with np.load(packed, allow_pickle=False) as archive:
            ink = np.unpackbits(archive["ink"], axis=2)[..., :784]  # (character, drawer | pixel)
        sets = [
            SourceRows(
                torch.from_numpy(part.reshape(-1, 1, 28, 28)),
                torch.arange(first, first + len(part)).repeat_interleave(part.shape[1]),
            )
            for part, first in ((ink[:964], 0), (ink[964:], 964))
        ]
    else:
        dataset = torchvision().datasets.Omniglot
        sets = [
            _nearest_pixels(dataset(options.root, background=b, download=options.download), first)
            for b, first in ((True, 0), (False, 964))
        ]
    pool, test = sets
    # the rows are in the order of characters: the last ones would be characters without training
    pool = pool.subset(permutation(len(pool), 0))
    return Source(pool, len(pool) // 10, test)


def _nearest_pixels(items: Sequence[tuple[Any, int]], first: int) -> SourceRows:
    """Return drawings of 105x105 with black ink as 28x28 with ink = 1."""
    index = ((np.arange(28) + 0.5) * 105 / 28).astype(int)
    rows, labels = [], []
    for image, label in items:
        rows.append(np.array(image.convert("L"))[np.ix_(index, index)] < 128)
        labels.append(first + label)
    return SourceRows(
        torch.from_numpy(np.stack(rows)[:, None].astype(np.uint8)), torch.tensor(labels)
    )


_CHARDATA = ("chardata.mat", "OMNIGLOT/chardata.mat", "omniglot/chardata.mat")


def _omniglot_iwae(options: NamedSetOptions) -> Source:
    from scipy.io import loadmat  # type: ignore[attr-defined]

    path = next(options.root / file for file in _CHARDATA if (options.root / file).exists())
    content = loadmat(path)
    pool, test = (SourceRows(_upright(content[key], str(path))) for key in ("data", "testdata"))
    pool = pool.subset(permutation(len(pool), 0))
    # the literature divides the training images into 23,000 and 1,345
    return Source(pool, min(1345, len(pool) // 10), test)


def _upright(columns: Any, where: str) -> Tensor:
    """Return (784, N) images, each stored column by column, as (N, 1, 28, 28)."""
    return to_rows(columns.T.reshape(-1, 28, 28).transpose(0, 2, 1), where)


_BINARIZED = "BinarizedMNIST/binarized_mnist"


def _binarized_mnist(options: NamedSetOptions) -> Source:
    packed = options.root / f"{_BINARIZED}.npz"
    if packed.exists():
        with np.load(packed, allow_pickle=False) as archive:
            sets = [np.unpackbits(archive[s], axis=1)[:, :784] for s in ("train", "valid", "test")]
    else:
        sets = [_amat(options.root / f"{_BINARIZED}_{s}.amat") for s in ("train", "valid", "test")]
    train, valid, test = (torch.from_numpy(s.reshape(-1, 1, 28, 28)) for s in sets)
    return Source(SourceRows(torch.cat([train, valid])), len(valid), SourceRows(test))


def _amat(path: Path) -> Any:
    """Read rows of 784 characters 0 and 1, with blanks between them."""
    characters = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    bits = characters[~np.isin(characters, list(b" \t\r\n"))] - ord("0")
    if len(bits) % 784 or (bits > 1).any():
        raise InputError(
            f"{path} is damaged", subject=str(path), expected="rows of 784 zeros and ones"
        )
    return bits.reshape(-1, 784)


_ADULT = "Adult/adult.csv"


def _adult(options: NamedSetOptions) -> Source:
    reading = options.reading  # in this file ? stands for a missing value
    return read_table(options.root / _ADULT, replace(reading, missing=(*reading.na_values, "?")))


def _sklearn_table(name: str, target: str) -> Callable[[NamedSetOptions], Source]:
    def read(options: NamedSetOptions) -> Source:
        from sklearn import datasets

        found = getattr(datasets, f"load_{name}")()
        columns = [column.replace(" ", "_") for column in found.feature_names]
        frame = pd.DataFrame(found.data, columns=columns)
        frame[target] = found.target_names[found.target]
        return source_of_frame(Path(name), frame, options.reading)

    return read


def _raw(folder: str, stem: str = "train") -> tuple[str, ...]:
    return (f"{folder}/raw/{stem}-images-idx3-ubyte",)


NAMED: dict[str, NamedSet] = {
    "digits": NamedSet("1,797 handwritten digits, 8x8, 17 grey levels (scikit-learn's)", _digits),
    "sprites": NamedSet(
        "4,608 drawings of 3 shapes by size, angle, x and y, 32x32, binary; with these factors",
        lambda options: sprites(),
    ),
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
        options=frozenset({"image_size"}),
    ),
    "adult": NamedSet(
        "32,561 people of the US census of 1994 and their incomes, a mixed table with gaps (UCI)",
        _adult,
        (_ADULT,),
        downloadable=False,
        options=OF_TABLES,
    ),
    "breast_cancer": NamedSet(
        "569 tumours: 30 measurements and the diagnosis, a table (scikit-learn's)",
        _sklearn_table("breast_cancer", "diagnosis"),
        options=OF_TABLES,
    ),
    "wine": NamedSet(
        "178 wines: 13 measurements and the cultivar, a table (scikit-learn's)",
        _sklearn_table("wine", "cultivar"),
        options=OF_TABLES,
    ),
}
