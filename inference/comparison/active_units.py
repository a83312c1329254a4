"""The column of the active units of the latent space."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pyro_vae.errors import InputError, positive
from pyro_vae.inference.comparison.column import NOTHING, Column, Figures
from pyro_vae.inference.comparison.lineup import Candidate, Lineup
from pyro_vae.inference.comparison.of_rows import infers_latents, posterior_of
from pyro_vae.inference.posterior.guide_mean import GuideMean
from pyro_vae.inference.posterior.rows import Rows


@dataclass(frozen=True)
class ActiveUnits(Column):
    """How many dimensions of the rows' latents are used: those whose guide's mean varies over rows.

    A dimension is active if the variance of its mean over rows is above the threshold. A model without a
    guide, or without latents of rows, has none.

    Args:
        threshold: of the variance.

    Source: Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", 2016,
    https://arxiv.org/abs/1509.00519.
    """

    threshold: float = 0.01

    def __post_init__(self) -> None:
        positive("threshold", self.threshold)

    def figures(self, lineup: Lineup) -> Iterator[Figures]:
        found = [self._of(candidate) for candidate in lineup.candidates]
        yield Figures(
            "active units",
            tuple(f"{active} of {size}" if size else NOTHING for active, size in found),
            {
                "active_units": tuple(float(a) if size else math.nan for a, size in found),
                "latent_units": tuple(float(size) if size else math.nan for _, size in found),
            },
        )

    def _of(self, candidate: Candidate) -> tuple[int, int]:
        """Return how many dimensions are active, and how many there are."""
        if not infers_latents(candidate):
            return 0, 0
        try:
            drawn = posterior_of(candidate, method=GuideMean(), num_draws=1)
        except InputError as error:
            raise error.at(f"active units of {candidate.name!r}") from error
        rows = Rows.of(drawn)
        means = [
            drawn.layouts[name].by_unit(drawn.draws[name], rows.plate)[0].double()
            for name in rows.own
        ]
        active = sum(int((mean.var(0) > self.threshold).sum()) for mean in means)
        return active, sum(mean.shape[1] for mean in means)
