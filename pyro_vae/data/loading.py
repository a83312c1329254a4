"""``load``: a name or a path -> a data set, its values treated as asked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from pyro_vae.data.arguments import Asked
from pyro_vae.data.columns.column import Kind, known_kinds
from pyro_vae.data.finding import source_of
from pyro_vae.data.reading import Reading
from pyro_vae.data.sets import DataSet
from pyro_vae.data.treatment import Binarize, treated
from pyro_vae.errors import InputError, nearest


def load(
    name: str,
    *,
    root: Path | str | None = None,
    download: bool = False,
    binarize: Binarize = "none",
    seed: int = 0,
    validation: float | int | None = None,
    standardize: bool | None = None,
    label: str | None = None,
    unseen: str | None = None,
    array: str | None = None,
    arguments: Asked | None = None,
    columns: Sequence[str] | None = None,
    kinds: Mapping[str, Kind | str] | None = None,
    id: str | None = None,
    separator: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
    missing: bool | Sequence[str | float] = False,
    pixels: bool | None = None,
    image_size: int | None = None,
) -> DataSet:
    """Training, validation and test rows of a named data set, a file, or a folder of images.

    :param name: a name that ``available`` lists, or a path: a table (``.csv``, ``.tsv``, ``.txt``, each
        also with ``.gz``; ``.parquet``), arrays (``.npy``, ``.npz``, ``.mat``, ``.h5ad``), or a folder of
        images.
    :param root: the folder that holds the named sets; by default what ``PYRO_VAE_DATA`` names.
    :param download: fetch a named set into ``root`` if it is not there; else nothing is fetched.
    :param binarize: ``none``; ``threshold`` (1 above 1/2); ``stochastic``: training rows are
        Bernoulli draws from the grey values, anew at each pass, all others are drawn once from
        ``seed``; ``fixed``: all are drawn once from ``seed``.
    :param seed: of the draws, and of the split where a file or folder has none of its own.
    :param validation: how many rows, or which fraction, of those that are not for the test to
        validate on, drawn at random by ``seed``; 0 for none. By default the set's own (of the MNIST
        family the last 10,000 training images); of files and folders a tenth, as for the test.
    :param standardize: subtract the training rows' mean and divide by their standard deviation,
        column by column. By default a model is given what is in the file; of times, and where float32 would
        lose the differences between rows, less the mean.
    :param label: the column of a table, or array of an archive, that holds the labels.
    :param unseen: the label that stands for one that was not seen, as -1, an empty cell and NaN do.
    :param array: the array of an archive (``.npz``, ``.mat``; a layer of ``.h5ad``) that holds the rows.
    :param arguments: columns of a table by the names of the model's parameters that they are given to, as
        ``{"x": ["age", "income"], "group": "clinic", "y": "visits"}``: a list as (B | columns), a single
        name as (B,), categories as int64.
    :param columns: the columns of a table that are read, in this order; by default all.
    :param kinds: of columns by name, what their values are: ``real``, ``positive``, ``count``, ``binary``,
        ``category`` or ``date``. By default what they look like.
    :param id: the column that names the rows: no model sees it, and outputs repeat it.
    :param separator: what stands between the cells of a text file; by default what it looks like.
    :param decimal: what stands before the decimals in it, ``.`` or ``,``; likewise.
    :param header: whether its first line names the columns; likewise.
    :param missing: keep values that are missing from a file (NaN; in a table also empty cells and NA), as
        NaN, for a model that reads them; or the values that stand for a missing one, such as
        ``(-999,)``. By default they are refused.
    :param pixels: whether whole numbers from 0 to 255 are grey levels, which a model sees as k/255; by
        default where rows have the shape of images.
    :param image_size: height and width of the images in a folder, or of celeba's.
    :raises InputError: what is wrong with a name, a path, a value or an option, and where.

    >>> digits = load("digits")
    >>> print(digits.describe())
    digits: 1,397 train / 200 validation / 200 test rows of 1x8x8; 17 levels in [0, 1]; 10 classes
    >>> digits.train.x.dtype, digits.train.read().max().item()
    (torch.uint8, 1.0)
    """
    if binarize not in get_args(Binarize):
        raise InputError(f"binarize={binarize!r} is unknown{nearest(binarize, get_args(Binarize))}")
    if binarize != "none" and standardize:
        raise InputError(
            "binarize and standardize exclude each other: zeros and ones stay as they are"
        )
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size={image_size} is no size in pixels; 64 would be one")
    if not -(2**63) <= seed < 2**64:
        raise InputError(f"seed={seed} is out of range: a seed has 64 bits")
    if arguments is not None and label is not None:
        raise InputError(
            "label and arguments exclude each other: name the label's column as one of the arguments"
        )
    reading = Reading(
        label=label,
        unseen=unseen,
        array=array,
        arguments=arguments,
        columns=columns,
        kinds=known_kinds(kinds or {}),
        id=id,
        separator=separator,
        decimal=decimal,
        header=header,
        missing=missing,
        pixels=pixels,
        image_size=image_size,
        seed=seed,
    )
    source = source_of(name, reading, root=root, download=download)
    return treated(name, source, binarize, standardize, validation, seed, arguments)
