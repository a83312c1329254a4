"""What all features have in common."""

import abc
from typing import Any

from pyro_vae.metrics.arrays import Array


class Features(abc.ABC):
    """A function from rows to features, with a name that tells it from all others.

    The name is shown with each metric, because figures of different features do not compare.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """What the features are."""

    @abc.abstractmethod
    def __call__(self, rows: Any) -> Array:
        """Return the features of rows, (N, D).

        Raises:
            InputError: the rows have another shape.
        """
