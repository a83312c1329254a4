"""What all columns of a comparison have in common."""

import abc
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from pyro_vae.inference.comparison.lineup import Lineup
from pyro_vae.inference.evidence.report import digits_of, plus_minus

NOTHING = "-"  # in print, where a model has no figure


@dataclass(frozen=True)
class Figures:
    """Hold a column of the table: a cell for each model, and the numbers behind the cells.

    Attributes:
        heading: of the column, in print.
        cells: in print, one a model, in the order of the lineup.
        numbers: by the name of a column of the data frame, one a model.
        notes: sentences that the reader should know.
    """

    heading: str
    cells: tuple[str, ...]
    numbers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Column(abc.ABC):
    """A figure of each model of a comparison.

    A column is a frozen dataclass of its own options, in a file of its own; one that is not here needs no
    change elsewhere: ``compare(models, columns=[*COLUMNS, MyColumn()])``.

    >>> from dataclasses import dataclass
    >>> from pyro_vae import compare
    >>> from pyro_vae.inference import COLUMNS
    >>> from pyro_vae.models import FactorAnalysis
    >>> @dataclass(frozen=True)
    ... class Layers(Column):
    ...     def figures(self, lineup):
    ...         modules = [candidate.program for candidate in lineup.candidates]
    ...         counts = tuple(len(list(m.parameters())) for m in modules)
    ...         yield Figures("layers", tuple(map(str, counts)), {"layers": counts})
    >>> x, models = torch.randn(20, 3), {f"FA {n}": FactorAnalysis((3,), n) for n in (1, 2)}
    >>> columns = [*COLUMNS, Layers()]
    >>> frame = compare(models, x, columns=columns, method="exact", sort=False).to_frame()
    >>> [int(count) for count in frame["layers"]]
    [6, 6]
    """

    @abc.abstractmethod
    def figures(self, lineup: Lineup) -> Iterable[Figures]:
        """Yield the columns of the table, in nats where they are logarithms.

        Args:
            lineup: the models, in the order of the table.

        Raises:
            InputError: a model has no such figure.
        """


def numbers(values: Tensor | Iterable[float]) -> tuple[float, ...]:
    """Return numbers for a data frame."""
    return tuple(float(value) for value in values)


def with_errors(values: Iterable[float], errors: Iterable[float]) -> tuple[str, ...]:
    """Return figures with their errors, which show to two places.

    >>> with_errors([-12.345, -7.0, -1.0], [0.012, 0.2, 0.0])
    ('-12.345 ± 0.012', '-7.00 ± 0.20', '-1.000')
    """
    return tuple(map(with_error, values, errors))


def with_error(value: float, error: float) -> str:
    """Return a figure with its error; with none where it is exact.

    >>> with_error(-0.0001, 0.1), with_error(-2.5, float("nan"))
    ('0.00 ± 0.10', '-2.5 ± unknown')
    """
    if math.isnan(value):
        return NOTHING
    places = 1 if math.isnan(error) else min(digits_of(error), 3)
    shown = f"{round(value, places) + 0.0:.{places}f}"
    return shown if error < 0.0005 else f"{shown} {plus_minus(error, places)}"
