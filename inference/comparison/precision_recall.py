"""The columns of precision and recall."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pyro_vae.errors import at_least_1
from pyro_vae.inference.comparison.metric_column import SampleColumn
from pyro_vae.metrics import Features, MetricValue, precision, recall


@dataclass(frozen=True)
class PrecisionRecall(SampleColumn):
    """Precision and recall of each model's draws (:func:`pyro_vae.metrics.precision`, ``recall``).

    Args:
        features: as :class:`SampleColumn`.
        site: as there.
        num_neighbours: k.
    """

    num_neighbours: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_1("num_neighbours", self.num_neighbours)

    def scores(self, data: Tensor, drawn: Tensor, features: Features) -> Mapping[str, MetricValue]:
        return {
            metric.__name__: metric(
                data, drawn, features=features, num_neighbours=self.num_neighbours
            )
            for metric in (precision, recall)
        }
