"""Metrics of a run's samples and reconstructions, and its ELBO: columns of a comparison, for one run."""

from collections.abc import Sequence

from pyro_vae.errors import InputError
from pyro_vae.inference.comparison.active_units import ActiveUnits
from pyro_vae.inference.comparison.column import NOTHING, Column, Figures
from pyro_vae.inference.comparison.frechet_distance import FrechetDistance
from pyro_vae.inference.comparison.kernel_distance import KernelDistance
from pyro_vae.inference.comparison.lineup import Candidate, Lineup
from pyro_vae.inference.comparison.precision_recall import PrecisionRecall
from pyro_vae.inference.comparison.rate_distortion import RateDistortion
from pyro_vae.inference.comparison.squared_error import MSE
from pyro_vae.notebook import table
from pyro_vae.page import paragraphs, wide

COLUMNS: Sequence[Column] = (
    FrechetDistance(),
    KernelDistance(),
    PrecisionRecall(),
    MSE(),
    RateDistortion(),
    ActiveUnits(),
)


def measured(candidate: Candidate) -> str:
    """Return a table of the metrics that a run can have, and a sentence on each that it cannot have."""
    lineup, shown, missing = Lineup((candidate,), candidate), list[Figures](), list[str]()
    for column in COLUMNS:
        try:
            shown += [f for f in column.figures(lineup) if f.cells[0] != NOTHING]
        except InputError as error:
            missing.append(f"Not here: {error.problem}.")
    if not shown:
        return paragraphs(missing or ["This run has none of these metrics."])
    notes = dict.fromkeys(note for figures in shown for note in figures.notes)
    rows = [(figures.heading, figures.cells[0]) for figures in shown]
    return wide(table(rows, (), "of the same rows as the evidence", (*notes, *missing)))
