"""The columns of the ELBO, and of the rate and the distortion that it consists of."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from pyro_vae.errors import InputError, at_least
from pyro_vae.inference.comparison.column import Column, Figures
from pyro_vae.inference.comparison.lineup import Candidate, Lineup
from pyro_vae.inference.comparison.metric_column import columns_of
from pyro_vae.inference.comparison.of_rows import infers_latents
from pyro_vae.inference.posterior.diagnostics import evaluate
from pyro_vae.metrics import MetricValue
from pyro_vae.metrics.value import mean_of_rows

HEADINGS = ("ELBO", "rate", "distortion")


@dataclass(frozen=True)
class RateDistortion(Column):
    """The ELBO of each model, its rate and its distortion: means over units, in nats.

    The ELBO is -(rate + distortion), with rate = E_q[log q(z | x) - log p(z)] and
    distortion = -E_q[log p(x | z)] (:func:`pyro_vae.evaluate`). A model without a guide, without latents,
    or that was given with ``args=`` has none. The ELBO is log p(x) less what the guide misses: it compares
    guides and models together.

    Args:
        num_particles: draws a unit, at least 2.

    >>> import torch
    >>> from pyro_vae import compare
    >>> from pyro_vae.inference import COLUMNS
    >>> from pyro_vae.models import FactorAnalysis
    >>> x, models = torch.randn(50, 3), {f"FA {n}": FactorAnalysis((3,), n) for n in (1, 2)}
    >>> found = compare(models, x, columns=[*COLUMNS, RateDistortion()], method="exact", seed=0)
    >>> {"elbo", "rate", "distortion"} <= set(found.to_frame())
    True
    """

    num_particles: int = 16

    def __post_init__(self) -> None:
        at_least(2, "num_particles", self.num_particles)

    def figures(self, lineup: Lineup) -> Iterator[Figures]:
        found = [self._of(candidate) for candidate in lineup.candidates]
        note = (
            "ELBO, rate and distortion: nats, means over rows; ± is the error over rows and draws"
        )
        yield from columns_of(found, (note,), HEADINGS)

    def _of(self, candidate: Candidate) -> dict[str, MetricValue] | None:
        """Return the three figures of a model, if it has them."""
        if candidate.data is None or candidate.lacks or not infers_latents(candidate):
            return None
        known = inspect.signature(evaluate).parameters.keys() - {"num_particles"}
        options = {name: value for name, value in candidate.options.items() if name in known}
        try:
            of = evaluate(
                candidate.program, candidate.data, num_particles=self.num_particles, **options
            )
        except InputError as error:
            raise error.at(f"the ELBO of {candidate.name!r}") from error
        rows = (of.elbo, of.rate, of.distortion)
        return {name: mean_of_rows(name, x.numpy()) for name, x in zip(HEADINGS, rows, strict=True)}
