"""Data that a program predicts, with the argument that each of its sites observes."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pyro_vae.program.observed_arguments import observed_arguments as observed_arguments


@dataclass(frozen=True)
class Prediction:
    """Hold a draw of an observed site, and the mean of its distribution, ``batch | event``.

    ``mean`` is the draw if the distribution has no mean. ``argument`` is the number of the argument that
    the site observes unchanged, or None.
    """

    value: Tensor
    mean: Tensor
    argument: int | None = None


def predictions(
    values: Mapping[str, Tensor], means: Mapping[str, Tensor], arguments: Mapping[str, int]
) -> dict[str, Prediction]:
    """Return what is known of each observed site."""
    return {
        name: Prediction(value, means[name], arguments.get(name)) for name, value in values.items()
    }
