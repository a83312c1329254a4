"""The column of the kernel distance."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pyro_vae.inference.comparison.metric_column import SampleColumn
from pyro_vae.metrics import Features, MetricValue, kernel_distance


@dataclass(frozen=True)
class KernelDistance(SampleColumn):
    """The kernel distance of each model's draws from the data: :func:`pyro_vae.metrics.kernel_distance`."""

    def scores(self, data: Tensor, drawn: Tensor, features: Features) -> Mapping[str, MetricValue]:
        return {"kernel distance": kernel_distance(data, drawn, features=features)}
