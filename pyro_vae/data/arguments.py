"""Columns of a table as the arguments of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.errors import InputError, nearest
from pyro_vae.program.contract import Signature

Asked = Mapping[str, str | Sequence[str]]  # names of columns by names of arguments


@dataclass(frozen=True)
class Argument:
    """Columns of a table that a model is given as its argument ``name``.

    A column that was named by itself comes as (B,), a list of columns as (B | columns): as int64 where they
    hold categories, else as floats.
    """

    name: str
    places: tuple[int, ...]  # of its columns in the table
    is_single: bool
    is_category: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return () if self.is_single else (len(self.places),)

    def of(self, x: Tensor) -> Tensor:
        """What is the argument's of something that the table's columns have each: ``... columns``."""
        return x[..., self.places[0]] if self.is_single else x[..., list(self.places)]


def columns_named(asked: Asked) -> list[str]:
    """All columns that arguments take, each once.

    :raises InputError: there are none, or one takes none.
    """
    if not asked:
        raise InputError(
            "arguments={} names no column: leave it out, and a model is given all as x"
        )
    for argument, names in asked.items():
        if not names:
            raise InputError(f"the argument {argument!r} has no column")
    return list(dict.fromkeys(name for names in asked.values() for name in _as_list(names)))


def arguments_of(
    asked: Asked, columns: Sequence[Column] | None, where: str
) -> tuple[Argument, ...]:
    """The arguments that are asked for, of a table with these columns.

    :raises InputError: there is no table, or no such column; or an argument has categories and numbers.
    """
    if columns is None:
        raise InputError(f"arguments are columns of a table, and {where} is none")
    names = [column.name for column in columns]
    for column in columns_named(asked):
        if column not in names:
            raise InputError(f"{where} has no column {column!r}{nearest(column, names)}")
    arguments = []
    for name, wanted in asked.items():
        places = tuple(names.index(column) for column in _as_list(wanted))
        of_kinds = {place: columns[place].kind is Kind.CATEGORY for place in places}
        if len(set(of_kinds.values())) > 1:
            category = next(names[place] for place in places if of_kinds[place])
            raise InputError(
                f"the argument {name!r} holds numbers and the category {category!r}: make that an "
                "argument of its own"
            )
        arguments.append(Argument(name, places, isinstance(wanted, str), any(of_kinds.values())))
    return tuple(arguments)


def in_order(arguments: Sequence[Argument], takes: Signature) -> tuple[Argument, ...]:
    """The arguments in the order in which a program takes them.

    :raises InputError: the model has no such parameter, or one more that it needs, or model and guide have
        them in another order.
    """
    named = {argument.name: argument for argument in arguments}
    if takes.model is None:
        raise InputError(
            f"the model takes *args, which have no names: give it the parameters {', '.join(named)}"
        )
    for name in named:
        if name not in takes.model:
            raise InputError(
                f"no parameter of the model is named {name!r}, as an argument is"
                f"{nearest(name, takes.model)}"
            )
    last = max(map(takes.model.index, named))
    for place, name in enumerate(takes.model):
        if name not in named and (place < last or name in takes.needed):
            raise InputError(
                f"the model takes {', '.join(takes.model)}, and no column is named for {name!r}: add it to "
                f"the arguments, as {name}=COLUMN"
            )
    given = takes.model[: last + 1]
    for place, name in enumerate(takes.guide or ()):
        if name in named and given[place : place + 1] != (name,):
            raise InputError(
                f"the model takes {', '.join(given)}, and the guide {', '.join(takes.guide or ())}: both "
                "are called with the same arguments, so give them the same parameters in the same order"
            )
    return tuple(named[name] for name in given)


def in_words(arguments: Sequence[Argument], columns: Sequence[Column]) -> str:
    """
    >>> columns = [Column("age"), Column("clinic", Kind.CATEGORY, ("a", "b", "c"))]
    >>> in_words([Argument("x", (0,), False, False), Argument("group", (1,), True, True)], columns)
    'x: age; group: clinic (3 categories)'
    """

    def of(place: int) -> str:
        column = columns[place]
        if column.kind is not Kind.CATEGORY:
            return column.name
        return f"{column.name} ({column.num_names} categories)"

    return "; ".join(f"{a.name}: {', '.join(map(of, a.places))}" for a in arguments)


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
