"""``load``: a name or a path -> a data set, its values as a model sees them."""

import os
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, get_args

from pyro_vae import argument_checks as checks
from pyro_vae.data.columns.arguments import ColumnsByArgument
from pyro_vae.data.columns.column import Kind, parse_kinds
from pyro_vae.data.data_set import DataSet
from pyro_vae.data.preprocessing import Binarize, preprocess
from pyro_vae.data.readers.find import read_source
from pyro_vae.data.readers.options import ReadOptions
from pyro_vae.errors import InputError, at_least_1, must_be, true_or_false, unknown

_name = checks.instance((str, os.PathLike), "a path or the name of a data set")


def _check_seed(name: str, value: Any) -> None:
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or not -(2**63) <= value < 2**64:
        raise must_be(name, "a whole number of 64 bits", value, remedy=f"pass {name}=0, say")


def _check_missing(name: str, value: Any) -> None:
    is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if not isinstance(value, bool) and not is_list:
        remedy = f"pass {name}=({value!r},)" if isinstance(value, str | int | float) else None
        raise must_be(name, "True, False or a list of values", value, remedy=remedy)


def _check_validation(name: str, value: Any) -> None:
    if not isinstance(value, Real) or isinstance(value, bool):
        raise must_be(name, "a share of the rows, or their number", value)


CHECKS: dict[str, checks.Check] = {
    "name": checks.suggesting("pass 'digits', say", _name),
    "root": checks.optional(checks.path),
    "download": true_or_false,
    "binarize": checks.instance(str, f"one of {', '.join(get_args(Binarize))}"),
    "seed": _check_seed,
    "validation": checks.optional(_check_validation),
    "standardize": checks.optional(true_or_false),
    "label": checks.optional(checks.text),
    "unseen": checks.optional(checks.text),
    "array": checks.optional(checks.text),
    "arguments": checks.optional(checks.mapping),
    "columns": checks.optional(checks.texts),
    "kinds": checks.optional(checks.mapping),
    "id": checks.optional(checks.text),
    "separator": checks.optional(checks.text),
    "decimal": checks.optional(checks.text),
    "header": checks.optional(true_or_false),
    "missing": _check_missing,
    "pixels": checks.optional(true_or_false),
    "image_size": checks.optional(checks.suggesting("pass image_size=64, say", at_least_1)),
}


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
    arguments: ColumnsByArgument | None = None,
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
    """Load the training, validation and test rows of a named data set, a file, or a folder of images.

    Args:
        name: a name that ``available`` lists, or a path: a table (``.csv``, ``.tsv``, ``.txt``, each
            also with ``.gz``; ``.parquet``), arrays (``.npy``, ``.npz``, ``.mat``, ``.h5ad``), or a folder
            of images.
        root: the folder of the named sets; by default ``PYRO_VAE_DATA`` names it.
        download: fetch a named set into ``root`` if it is not there.
        binarize: ``none``; ``threshold`` (1 above 1/2); ``stochastic``: each pass draws the training rows
            from a Bernoulli with the grey values as probabilities, all others are drawn once from
            ``seed``; ``fixed``: all are drawn once from ``seed``.
        seed: of the draws, and of the split where a file or folder has none.
        validation: how many of the rows that are not for the test, or which fraction, to validate on,
            drawn by ``seed``; 0 for none. By default the set's own (of the MNIST family the last 10,000
            training images); of files and folders a tenth, as for the test.
        standardize: subtract the training rows' mean and divide by their standard deviation, column by
            column. By default a model sees the values of the file; of times, and where float32 would lose
            the differences between rows, less the mean.
        label: the column of a table, or array of an archive, that holds the labels.
        unseen: the label that means that a row's label is unknown, as -1, an empty cell and NaN do.
        array: the array of an archive (``.npz``, ``.mat``; a layer of ``.h5ad``) that holds the rows.
        arguments: columns of a table by the names of the model's parameters that they are given to, as
            ``{"x": ["age", "income"], "group": "clinic", "y": "visits"}``: a list as (B | columns), a
            single name as (B,), categories as int64.
        columns: the columns of a table that are read, in this order; by default all.
        kinds: of columns by name: ``real``, ``positive``, ``count``, ``grade``, ``binary``, ``category``,
            ``date`` or ``time``. By default the values decide.
        id: the column that names the rows: no model sees it, and outputs repeat it.
        separator: the character between the cells of a text file; by default the text decides.
        decimal: its decimal mark, ``.`` or ``,``; likewise.
        header: whether its first line names the columns; likewise.
        missing: keep missing values (NaN; in a table also empty cells and NA) as NaN, for a model that
            reads them; or the values that stand for a missing one, such as ``(-999,)``. By default they
            are refused.
        pixels: whether whole numbers from 0 to 255 are grey levels, which a model sees as k/255; by
            default where rows have the shape of images.
        image_size: height and width of the images in a folder, or of celeba's.

    Raises:
        InputError: the name, the path, a value or an option does not fit.

    >>> digits = load("digits")
    >>> print(digits.describe())
    digits: 1,397 train / 200 validation / 200 test rows of 1x8x8; 17 levels in [0, 1]; 10 classes
    >>> digits.train.x.dtype, digits.train.read().max().item()
    (torch.uint8, 1.0)
    """
    checks.check_arguments(CHECKS, locals())
    _check(binarize, standardize, label, arguments)
    options = ReadOptions(
        label=label,
        unseen=unseen,
        array=array,
        arguments=arguments,
        columns=columns,
        kinds=parse_kinds(kinds or {}),
        id=id,
        separator=separator,
        decimal=decimal,
        header=header,
        missing=missing,
        pixels=pixels,
        image_size=image_size,
        seed=seed,
    )
    source = read_source(name, options, root=root, download=download)
    return preprocess(name, source, binarize, standardize, validation, seed, arguments)


def _check(
    binarize: str,
    standardize: bool | None,
    label: str | None,
    arguments: ColumnsByArgument | None,
) -> None:
    if binarize not in get_args(Binarize):
        problem = f"there is no binarization {binarize!r}"
        raise unknown(problem, binarize, get_args(Binarize), subject="binarize")
    if binarize != "none" and standardize:
        raise InputError(
            "binarize and standardize exclude each other",
            subject="standardize",
            remedy="leave one out",
        )
    if arguments is not None and label is not None:
        raise InputError(
            "label and arguments exclude each other",
            subject="label",
            remedy="name the label's column as one of the arguments",
        )
