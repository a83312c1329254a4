"""What the columns of metrics have in common: a score of each model, and the features that it compares."""

import abc
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError
from pyro_vae.inference.comparison.column import NOTHING, Column, Figures
from pyro_vae.inference.comparison.lineup import Lineup
from pyro_vae.inference.comparison.of_rows import data_and_draws
from pyro_vae.metrics import Features, MetricValue, PrincipalComponents

COMPONENTS = 20  # of the default features
CHECKS: dict[str, checks.Check] = {
    "features": checks.optional(checks.instance(Features, "a Features object")),
    "site": checks.optional(checks.instance(str, "the name of an observed site")),
}


@dataclass(frozen=True)
class SampleColumn(Column):
    """A metric of each model's draws beside the data: as many draws as there are rows, from the prior.

    Args:
        features: that are compared; by default the first 20 principal components of the rows.
        site: the observed site; by default the only one.
    """

    features: Features | None = None
    site: str | None = None

    def __post_init__(self) -> None:
        checks.check_arguments(CHECKS, vars(self))

    def figures(self, lineup: Lineup) -> Iterator[Figures]:
        features, found = self.features, list[Mapping[str, MetricValue] | None]()
        for candidate in lineup.candidates:
            if candidate.program is None or candidate.lacks:  # nothing can be drawn
                found.append(None)
                continue
            try:
                data, drawn = data_and_draws(candidate, self.site)
                features = features or PrincipalComponents(data, COMPONENTS)
                found.append(self.scores(data, drawn, features))
            except InputError as error:
                raise error.at(f"the samples of {candidate.name!r}") from error
        about = f" of {features.name}" if features is not None else ""
        what = f"metrics of samples{about}: as many draws as rows; ± is the error over rows"
        yield from columns_of(found, (what,))

    @abc.abstractmethod
    def scores(self, data: Tensor, drawn: Tensor, features: Features) -> Mapping[str, MetricValue]:
        """Return the scores of one model, by the heading of their columns."""


def columns_of(
    scores: Sequence[Mapping[str, MetricValue] | None],
    notes: tuple[str, ...] = (),
    headings: tuple[str, ...] = (),
) -> Iterator[Figures]:
    """Yield a column for each score, with its error; nothing in a cell where a model has none.

    Args:
        scores: of each model, by heading.
        notes: of the first column.
        headings: of columns that are shown also where no model has a score.
    """
    found_in_some = (name for found in scores for name in found or ())
    for heading in dict.fromkeys((*headings, *found_in_some)):
        column = [None if found is None else found.get(heading) for found in scores]
        own = [note for score in column if score is not None for note in score.notes]
        name = heading.lower().replace(" ", "_").replace("-", "_")
        yield Figures(
            heading,
            tuple(NOTHING if s is None else s.cell() for s in column),
            {
                name: tuple(math.nan if s is None else s.value for s in column),
                f"{name}_error": tuple(math.nan if s is None else s.standard_error for s in column),
            },
            (*notes, *own),
        )
