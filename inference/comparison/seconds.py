"""The column of the time that the evidence took."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pyro_vae.inference.comparison.column import NOTHING, Column, Figures
from pyro_vae.inference.comparison.lineup import Lineup


@dataclass(frozen=True)
class Seconds(Column):
    """How long the evidence of each model took, in seconds; nothing where the evidence was given."""

    def figures(self, lineup: Lineup) -> Iterator[Figures]:
        seconds = tuple(candidate.seconds for candidate in lineup.candidates)
        cells = tuple(NOTHING if math.isnan(s) else f"{s:.1f}" for s in seconds)
        yield Figures("seconds", cells, {"seconds": seconds})
