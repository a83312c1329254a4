"""The columns of the mean squared error of reconstructions."""

from collections.abc import Iterator
from dataclasses import dataclass

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError
from pyro_vae.inference.comparison.column import Column, Figures
from pyro_vae.inference.comparison.lineup import Lineup
from pyro_vae.inference.comparison.metric_column import columns_of
from pyro_vae.inference.comparison.of_rows import data_and_reconstructions, infers_latents
from pyro_vae.metrics import MetricValue, mse
from pyro_vae.metrics.value import mean_of_rows

CHECKS: dict[str, checks.Check] = {
    "site": checks.optional(checks.instance(str, "the name of an observed site"))
}


@dataclass(frozen=True)
class MSE(Column):
    """The mean squared error of each model's reconstructions E[x' | z], at the guide's mean of z.

    A model without a guide, or without latents, has none. The difference from the reference has its error
    from the rows' paired differences.

    Args:
        site: the observed site; by default the only one.
    """

    site: str | None = None

    def __post_init__(self) -> None:
        checks.check_arguments(CHECKS, vars(self))

    def figures(self, lineup: Lineup) -> Iterator[Figures]:
        found: list[MetricValue | None] = []
        for candidate in lineup.candidates:
            try:
                is_there = infers_latents(candidate)
                found.append(
                    mse(*data_and_reconstructions(candidate, self.site)) if is_there else None
                )
            except InputError as error:
                raise error.at(f"the reconstructions of {candidate.name!r}") from error
        note = "MSE: of reconstructions at the guide's mean; ± is the error over rows"
        yield from columns_of([None if s is None else {"MSE": s} for s in found], (note,), ("MSE",))
        if len(found) == 1:
            return
        reference = found[lineup.candidates.index(lineup.reference)]
        away = [_difference(score, reference) for score in found]
        yield from columns_of([None if s is None else {"MSE difference": s} for s in away])


def _difference(score: MetricValue | None, reference: MetricValue | None) -> MetricValue | None:
    """Return how much larger an error is, from the rows' paired differences."""
    if score is None or reference is None:
        return None
    ours, others = score.parts["by_row"], reference.parts["by_row"]
    if ours.shape != others.shape:
        return None
    return mean_of_rows("MSE difference", ours - others)
