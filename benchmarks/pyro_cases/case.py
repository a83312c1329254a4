"""One program of Pyro's with small data: what the verbs are tried on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyro_cases.source import Source

Maker = Callable[[Source], Iterator["Case"]]
MAKERS: dict[str, Maker] = {}  # by the file under PATH that holds the programs


@dataclass(frozen=True)
class Case:
    """A program and the arguments of one call.

    Args:
        name: what the table calls it.
        program: an object with ``.model`` and ``.guide``, or the pair of them.
        args: the arguments of one call.
        kwargs: likewise by name.
        rows: whether the arguments' rows are the data, so that ``fit`` is given them as ``data``;
            else the whole call is handed over as it is.
        ordered: whether a row has a place, which `fit` must find out: a guide has parameters for each.
        elbo: makes the ELBO that the example trains by, where that is another than Trace_ELBO or,
            with enumerated sites, TraceEnum_ELBO; `fit` is given it, too.
        nesting: of plates, for a program that holds only under enumeration.
    """

    name: str
    program: Any
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    rows: bool = False
    ordered: bool = False
    elbo: Callable[[], Any] | None = None
    max_plate_nesting: int | None = None


def of(file: str) -> Callable[[Maker], Maker]:
    """Registers what makes the cases of one file of Pyro's."""

    def register(maker: Maker) -> Maker:
        MAKERS[file] = maker
        return maker

    return register
