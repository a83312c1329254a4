"""A distribution over images in which each value depends on those before it."""

from collections.abc import Callable, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from pyro_vae.distributions.expandable import Expandable


class AutoregressiveImage(Expandable):
    """Draw an image, ``batch | C, H, W``, in reading order: p(x) = prod_i p(x_i | x_1, ..., x_(i-1)).

    The channels of a pixel follow one another. A density takes one call of the network. A draw takes one
    call of its upper stack for each row, and one of the rest, on that row only, for each pixel.

    Args:
        network: such as :class:`pyro_vae.networks.pixels.CausalPixels`; it makes the parameters of a value.
        from_parameters: makes the values' distribution, ``N, C, h, w |``, from parameters
            ``N, parameters, C, h, w``.
        example: parameters of any value, ``parameters, C, 1, 1``, which show the distribution's kind.
        context: the network's second input, ``batch | width, H, W``.
        batch_shape: ``batch``; by default, the context's.
    """

    def __init__(
        self,
        network: Any,
        from_parameters: Callable[[Tensor], dist.TorchDistribution],
        example: Tensor,
        context: Tensor,
        batch_shape: torch.Size | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.network, self.from_parameters = network, from_parameters
        self.example, self.context = example, context
        self.base_dist = from_parameters(example)  # which says the kind of the values
        event_shape = torch.Size((example.shape[-3], *context.shape[-2:]))
        batch_shape = context.shape[:-3] if batch_shape is None else batch_shape
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=3)
    def support(self) -> constraints.Constraint:
        return constraints.independent(self.base_dist.support, 3)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        batch = torch.broadcast_shapes(value.shape[:-3], self.batch_shape)
        x, context = _flatten_batch(value, batch), _flatten_batch(self.context, batch)
        of_values = self.from_parameters(self.network(x, context)).log_prob(x)  # N, C, H, W
        return of_values.sum((-1, -2, -3)).reshape(batch)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        context = _flatten_batch(self.context, shape[:-3])
        x = context.new_zeros(len(context), *self.event_shape)
        for row in range(shape[-2]):
            rows, this_row = slice(row + 1), slice(row, row + 1)
            above = self.network.read_above(x[..., rows, :], context[..., rows, :])
            above = [features[..., -1:, :] for features in above]
            self._draw_row(x[..., this_row, :], context[..., this_row, :], above)
        return x.reshape(shape)

    def _draw_row(self, row: Tensor, context: Tensor, above: list[Tensor]) -> None:
        """Fill in ``row``, ``N | C, 1, W``."""
        for column in range(row.shape[-1]):
            here = slice(column, column + 1)
            features = self.network.read_before(row, context, above)[..., here]
            pixel = row[..., here]
            for channel in range(row.shape[-3]):
                parameters = self.network.read_pixel(pixel, features)
                pixel[:, channel] = self.from_parameters(parameters).sample()[:, channel]


def _flatten_batch(image: Tensor, batch: torch.Size) -> Tensor:
    """Broadcast ``batch | C, H, W`` to a batch and make one dimension of it."""
    event = image.shape[-3:]
    return image.expand(*batch, *event).reshape(-1, *event)
