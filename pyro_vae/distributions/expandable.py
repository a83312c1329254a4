"""The expansion of a distribution's batch shape."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, ClassVar, Self

import pyro.distributions as dist
import torch
from torch import Tensor


class Expandable(dist.TorchDistribution):
    """Expand the parameters of a distribution together with its batch shape.

    ``event_dims_of`` names the parameters, tensors or distributions, and the number of event dimensions of
    each one.
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own protocol
    event_dims_of: ClassVar[Mapping[str, int]] = {}

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Self:
        new, batch = copy(self), torch.Size(batch_shape)
        for name, event_dims in self.event_dims_of.items():
            value = getattr(self, name)
            is_tensor = isinstance(value, Tensor)
            event = value.shape[value.dim() - event_dims :] if is_tensor else torch.Size()
            setattr(new, name, value.expand(batch + event))
        new._batch_shape = batch
        return new
