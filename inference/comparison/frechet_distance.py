"""The column of the Frechet distance."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pyro_vae.inference.comparison.metric_column import SampleColumn
from pyro_vae.metrics import Features, MetricValue, frechet_distance


@dataclass(frozen=True)
class FrechetDistance(SampleColumn):
    """The Frechet distance of each model's draws from the data, at infinitely many rows.

    It is :func:`pyro_vae.metrics.frechet_distance`, extrapolated: 0 for a model that is right, and at times
    below by noise.

    >>> from pyro_vae import compare
    >>> from pyro_vae.inference import COLUMNS
    >>> from pyro_vae.models import FactorAnalysis
    >>> x, models = torch.randn(50, 3), {f"FA {n}": FactorAnalysis((3,), n) for n in (1, 2)}
    >>> found = compare(models, x, columns=[*COLUMNS, FrechetDistance()], method="exact", seed=0)
    >>> "frechet_distance" in found.to_frame()
    True
    """

    def scores(self, data: Tensor, drawn: Tensor, features: Features) -> Mapping[str, MetricValue]:
        found = frechet_distance(data, drawn, features=features)
        return {"Frechet distance": found.extrapolated()}
