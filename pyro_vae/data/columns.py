"""The columns of a table: their names, and what their values are."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pyro_vae.errors import InputError, nearest


class Kind(StrEnum):
    """What the values of a column are."""

    REAL = "real"
    POSITIVE = "positive"  # real, and spread over orders of magnitude
    COUNT = "count"  # whole numbers from 0
    GRADE = "grade"  # a few whole numbers from 0, such as answers on a scale
    BINARY = "binary"  # one of two
    CATEGORY = "category"  # one of several that have no order
    DATE = "date"  # days since 1970


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, what its values are, and what 0, 1, ... stand for, if for words.

    >>> Column("job", Kind.CATEGORY, ("clerk", "cook")).categories
    ('clerk', 'cook')
    """

    name: str
    kind: Kind = Kind.REAL
    categories: tuple[str, ...] | None = None


def known_kinds(kinds: Mapping[str, str]) -> dict[str, Kind]:
    """Kinds of columns by their names.

    :raises InputError: there is no such kind.
    """
    known = [str(kind) for kind in Kind]
    for name, kind in kinds.items():
        if kind not in known:
            raise InputError(
                f"column {name!r} cannot be of the kind {kind!r}{nearest(kind, known)}"
            )
    return {name: Kind(kind) for name, kind in kinds.items()}
