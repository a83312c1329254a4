"""The names of a table's rows: columns that no model sees and that outputs repeat."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyro_vae.data.columns.cells import NUMBER
from pyro_vae.data.readers.options import ReadOptions
from pyro_vae.data.refusals import no_column
from pyro_vae.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

NAMELESS = re.compile(r"Unnamed: \d+(\.\d+)?|__index_level_\d+__")
_NAMES = {
    "#", "id", "ids", "idx", "index", "key", "no", "nr", "obs", "row", "row names", "rowid", "rowname",
    "rownames", "row number", "rownumber", "uid", "uuid", "guid",
}  # fmt: skip
_ENDS_IN_ID = re.compile(r"(.*[\s_.-])?(?i:ids?|uid)|.*[a-z]I[dD]", re.DOTALL)
_MANY = 20  # numbers called id; fewer may tell groups apart
_SAMPLE = 100  # words that decide


class TableWithIds(NamedTuple):
    """Hold a table without the names of its rows; these names, the name of their column, and remarks."""

    frame: "pd.DataFrame"
    ids: tuple[str, ...] | None
    name: str | None
    remarks: list[str]


def split_ids(path: Path, frame: "pd.DataFrame", options: ReadOptions) -> TableWithIds:
    """Take the columns that name the rows out of a table, unless ``columns`` or ``kinds`` name them.

    They are the one that ``id`` names; a first column without a name, or of words that all differ; those
    called id, index, row and the like whose whole numbers or words all differ; and those called id with
    more than 20 whole numbers, which may repeat: a patient comes again, and the number is still a name.

    Raises:
        InputError: there is no column ``id``.
    """
    read, chosen = {*(options.columns or ()), *options.kinds}, options.id
    if chosen is not None:
        if chosen not in frame:
            raise no_column(path, chosen, frame)
        if chosen in read:
            raise InputError(
                f"id and columns both name {chosen!r}",
                subject=chosen,
                remedy="leave it out of one of them",
            )
    guessed = [
        str(name)
        for place, name in enumerate(frame)
        if name not in read and name != chosen and _names_rows(frame, place)
    ]
    names = [*([chosen] if chosen is not None else []), *guessed]
    if len(names) == frame.shape[1] and guessed:  # a model needs a column
        del names[-1], guessed[-1]
    if not names:
        return TableWithIds(frame, None, None, _remark_on_counting(frame, options))
    # a column with a name is better than one without
    best = chosen or min(names, key=lambda name: NAMELESS.fullmatch(name) is not None)
    nameless = NAMELESS.fullmatch(best) is not None
    remarks = [] if options.columns else [_sentence(name) for name in guessed]
    return TableWithIds(
        frame.drop(columns=names), _as_words(frame[best]), "id" if nameless else best, remarks
    )


def _names_rows(frame: "pd.DataFrame", place: int) -> bool:
    name = str(frame.columns[place])
    called = re.sub(r"[\s_.-]+", " ", name.strip()).casefold()
    is_nameless = NAMELESS.fullmatch(name) is not None
    is_id = called in _NAMES or _ENDS_IN_ID.fullmatch(name.strip()) is not None
    if place > 0 and not (is_nameless or is_id):
        return False
    column = frame.iloc[:, place]
    is_many = _ENDS_IN_ID.fullmatch(name.strip()) is not None and column.nunique() > _MANY
    if is_many and _are_whole(column.dropna()):
        return True
    if column.isna().any():
        return False
    whole, words = _are_whole(column), _are_words(column)
    if place == 0 and is_nameless:
        return whole or words
    if not (whole or words) or column.duplicated().any():
        return False
    if place == 0 and words and len(column) > 1 and not _are_dates(column):
        return _share_of_numbers(column) < 1 / 2  # more are a column of numbers with a wrong cell
    if place == 0 and name in ("X", "...1", "X1"):  # R's names for a column without one
        return _counts(column)
    return _counts(column) if is_nameless else is_id


def _are_whole(column: "pd.Series") -> bool:
    import pandas as pd

    if pd.api.types.is_bool_dtype(column):
        return False
    if pd.api.types.is_float_dtype(column):
        return bool((column == column.round()).all())
    return pd.api.types.is_integer_dtype(column)


def _are_words(column: "pd.Series") -> bool:
    import pandas as pd

    if not (pd.api.types.is_string_dtype(column) or pd.api.types.is_object_dtype(column)):
        return False
    return _share_of_numbers(column) < 1


def _share_of_numbers(column: "pd.Series") -> float:
    some = column[:_SAMPLE]
    return sum(NUMBER.fullmatch(str(word)) is not None for word in some) / max(1, len(some))


def _are_dates(column: "pd.Series") -> bool:
    """Return whether words begin as dates do, which are data."""
    return all(
        re.match(r"\s*(\d{4}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2})", str(word))
        for word in column[:_SAMPLE]
    )


def _counts(column: "pd.Series") -> bool:
    """Return whether a column counts the rows, from 0 or from 1."""
    if not _are_whole(column) or not len(column) or column.iloc[0] not in (0, 1):
        return False
    return bool((column.diff().iloc[1:] == 1).all())


def _remark_on_counting(frame: "pd.DataFrame", options: ReadOptions) -> list[str]:
    if options.columns or frame.shape[1] < 2 or len(frame) < 3 or not _counts(frame.iloc[:, 0]):
        return []
    first = frame.columns[0]
    return [
        f"column {first!r} counts the rows and is read like any other (--id {first} if it names them)"
    ]


def _sentence(name: str) -> str:
    what = "the column without a name" if NAMELESS.fullmatch(name) else f"column {name!r}"
    return f"{what} names the rows and is not read (unless --columns has {name!r})"


def _as_words(column: "pd.Series") -> tuple[str, ...]:
    if _are_whole(column.dropna()):
        column = column.astype("Int64")  # 7, not 7.0, where another one is missing
    missing = column.isna()
    return tuple(
        "" if is_missing else str(value) for value, is_missing in zip(column, missing, strict=True)
    )


def check_names(path: Path, wanted: Sequence[str], known: Sequence[str]) -> None:
    """Check that each column that is wanted is known, and is wanted once."""
    for place, name in enumerate(wanted):
        if name not in known:
            raise no_column(path, name, known)
        if name in wanted[:place]:
            raise InputError(
                f"columns name {name!r} twice", subject=name, remedy="name each column once"
            )
