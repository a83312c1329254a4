"""Columns of a table as the arguments of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.data.refusals import no_column
from pyro_vae.errors import InputError, unknown
from pyro_vae.program.contract import Signature

ColumnsByArgument = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Argument:
    """Name the columns of a table that a model is given as its argument ``name``.

    A column that was named by itself comes as (B,), a list of columns as (B | columns): as int64 where they
    hold categories, otherwise as floats.
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
        """Select the argument's columns from ``... columns``."""
        return x[..., self.places[0]] if self.is_single else x[..., list(self.places)]


def argument_columns(asked: ColumnsByArgument) -> list[str]:
    """Return all columns that arguments take, each once.

    Raises:
        InputError: there are no arguments, or one has no column.
    """
    if not asked:
        raise InputError(
            "arguments={} names no column",
            subject="arguments",
            remedy="leave it out to pass all as x",
        )
    for argument, names in asked.items():
        if not names:
            raise InputError(
                f"the argument {argument!r} has no column",
                subject=argument,
                expected="the name of a column, or a list of names",
            )
    return list(dict.fromkeys(name for names in asked.values() for name in _as_list(names)))


def find_arguments(
    asked: ColumnsByArgument, columns: Sequence[Column] | None, where: str
) -> tuple[Argument, ...]:
    """Return the arguments that a table with these columns gives.

    Raises:
        InputError: the data are not a table, lack a column, or an argument mixes categories and numbers.
    """
    if columns is None:
        raise InputError(
            f"{where} is not a table, so it has no columns for arguments",
            subject="arguments",
            remedy="leave arguments out",
        )
    names = [column.name for column in columns]
    for column in argument_columns(asked):
        if column not in names:
            raise no_column(where, column, names)
    arguments = []
    for name, wanted in asked.items():
        places = tuple(names.index(column) for column in _as_list(wanted))
        of_kinds = {place: columns[place].kind is Kind.CATEGORY for place in places}
        if len(set(of_kinds.values())) > 1:
            category = next(names[place] for place in places if of_kinds[place])
            raise InputError(
                f"the argument {name!r} holds numbers and the category {category!r}",
                subject=name,
                expected="one of the two",
                remedy=f"pass {category!r} as another argument",
            )
        arguments.append(Argument(name, places, isinstance(wanted, str), any(of_kinds.values())))
    return tuple(arguments)


def order_arguments(arguments: Sequence[Argument], takes: Signature) -> tuple[Argument, ...]:
    """Return the arguments in the order in which a program takes them.

    Raises:
        InputError: the model lacks such a parameter, needs another one, or the guide's order differs.
    """
    named = {argument.name: argument for argument in arguments}
    if takes.model is None:
        raise InputError(
            "the model takes *args, which have no names",
            subject="model",
            remedy=f"give it the parameters {', '.join(named)}",
        )
    for name in named:
        if name not in takes.model:
            raise unknown(f"the model has no parameter {name!r}", name, takes.model)
    last = max(map(takes.model.index, named))
    for place, name in enumerate(takes.model):
        if name not in named and (place < last or name in takes.needed):
            raise InputError(
                f"the model takes {', '.join(takes.model)}, but no column is named for {name!r}",
                subject=name,
                remedy=f"pass {name}=COLUMN among the arguments",
            )
    given = takes.model[: last + 1]
    for place, name in enumerate(takes.guide or ()):
        if name in named and given[place : place + 1] != (name,):
            raise InputError(
                f"the guide takes {', '.join(takes.guide or ())}",
                subject="guide",
                expected=f"{', '.join(given)}, as the model takes them",
                remedy="give both the same parameters in the same order",
            )
    return tuple(named[name] for name in given)


def describe_arguments(arguments: Sequence[Argument], columns: Sequence[Column]) -> str:
    """Return the columns of each argument in words.

    >>> columns = [Column("age"), Column("clinic", Kind.CATEGORY, ("a", "b", "c"))]
    >>> x, group = Argument("x", (0,), False, False), Argument("group", (1,), True, True)
    >>> describe_arguments([x, group], columns)
    'x: age; group: clinic (3 categories)'
    """

    def describe(place: int) -> str:
        column = columns[place]
        if column.kind is not Kind.CATEGORY:
            return column.name
        return f"{column.name} ({column.num_categories} categories)"

    return "; ".join(f"{a.name}: {', '.join(map(describe, a.places))}" for a in arguments)


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
