"""All metrics of disentanglement in a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyro_vae.metrics.dci import dci
from pyro_vae.metrics.factor_vae import factor_vae
from pyro_vae.metrics.mcc import mcc
from pyro_vae.metrics.mig import mig
from pyro_vae.metrics.sap import sap
from pyro_vae.metrics.value import SPLITS, MetricValue
from pyro_vae.notebook import table

METRICS: dict[str, Callable[..., MetricValue]] = {
    "MIG": mig,
    "DCI": dci,
    "SAP": sap,
    "FactorVAE": factor_vae,
    "MCC": mcc,
}


@dataclass(frozen=True)
class Disentanglement:
    """Hold the scores by name; ``print`` shows them with their errors."""

    scores: Mapping[str, MetricValue]

    def __getitem__(self, name: str) -> MetricValue:
        return self.scores[name]

    def __str__(self) -> str:
        width = max(map(len, self.scores))
        return "\n".join(
            f"{name:<{width}}  {s.value:6.3f} ± {s.standard_error:.3f}"
            for name, s in self.scores.items()
        )

    def _repr_html_(self) -> str:
        rows = [
            (name, f"{s.value:.3f}", f"{s.standard_error:.3f}") for name, s in self.scores.items()
        ]
        return table(rows, ("metric", "score", "±"))


def disentanglement(
    codes: Any,
    factors: Any,
    *,
    is_class: Sequence[bool] | None = None,
    num_splits: int = SPLITS,
    seed: int = 0,
) -> Disentanglement:
    """Return MIG, DCI, SAP, the FactorVAE score and MCC of the same codes and factors.

    A code that is the factors scores 1 in all of them. Two factors rotated by 45 degrees score 0 in MIG,
    DCI and SAP, 1/2 in FactorVAE's and 0.71 in MCC.

    Args:
        codes: (N, D), such as posterior means.
        factors: (N, F) that the data were made from.
        is_class: whether each factor's values are classes; by default those with at most 20 distinct whole
            numbers.
        num_splits: random halves of the rows, for the errors.
        seed: of these.

    Raises:
        InputError: the arrays do not fit.

    >>> import numpy as np
    >>> v = np.random.default_rng(0).uniform(size=(300, 2))
    >>> list(disentanglement(v, v, num_splits=2).scores)
    ['MIG', 'DCI', 'SAP', 'FactorVAE', 'MCC']
    """
    options = {"is_class": is_class, "num_splits": num_splits, "seed": seed}
    return Disentanglement(
        {name: metric(codes, factors, **options) for name, metric in METRICS.items()}
    )
