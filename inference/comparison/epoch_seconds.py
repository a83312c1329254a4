"""The column of the time that an epoch of the fit took."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyro_vae import argument_checks as checks
from pyro_vae.inference.comparison.column import NOTHING, Column, Figures
from pyro_vae.inference.comparison.lineup import Lineup

CHECKS: dict[str, checks.Check] = {"seconds": checks.mapping}


@dataclass(frozen=True)
class EpochSeconds(Column):
    """How many seconds an epoch of each model's fit took, with all that a fit does.

    Args:
        seconds: of an epoch, by the name of the model: ``{"vae": result.seconds / len(result.metrics)}``;
            nothing is shown for the others.

    >>> EpochSeconds({"vae": 0.25}).seconds
    {'vae': 0.25}
    """

    seconds: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.check_arguments(CHECKS, vars(self))
        for name, value in self.seconds.items():
            checks.not_negative(f"the seconds of {name!r}", value)

    def figures(self, lineup: Lineup) -> Iterator[Figures]:
        seconds = tuple(float(self.seconds.get(name, math.nan)) for name in lineup.names)
        cells = tuple(NOTHING if math.isnan(s) else f"{s:.3g}" for s in seconds)
        yield Figures("s an epoch", cells, {"epoch_seconds": seconds})
