"""A distribution over images, each value of which depends on those before it."""

from collections.abc import Callable, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints


class Raster(dist.TorchDistribution):
    """p(x) = prod_i p(x_i | x_1, ..., x_(i-1)) of images, ``batch | C, H, W``, in reading order.

    The channels of a pixel come one after another. A density takes one call of the network; a draw takes
    one of its upper stack for each row, and one of the rest, of that row alone, for each pixel.

    :param network: as :class:`pyro_vae.networks.pixels.CausalPixels`, whose numbers for a value are all
        that is known of it.
    :param values: makes of these, ``N, numbers, C, h, w``, the values' distribution, ``N, C, h, w |``.
    :param like: such numbers, of no matter what value, ``numbers, C, 1, 1``.
    :param context: what the network reads beside an image, ``batch | width, H, W``.
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own protocol

    def __init__(
        self,
        network: Any,
        values: Callable[[Tensor], dist.TorchDistribution],
        like: Tensor,
        context: Tensor,
        batch_shape: torch.Size | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.network, self.values, self.like, self.context = network, values, like, context
        self.base_dist = values(like)  # of the values' kind
        event_shape = torch.Size((like.shape[-3], *context.shape[-2:]))
        batch_shape = context.shape[:-3] if batch_shape is None else batch_shape
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=3)
    def support(self) -> constraints.Constraint:
        return constraints.independent(self.base_dist.support, 3)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        batch = torch.broadcast_shapes(value.shape[:-3], self.batch_shape)
        x, context = flat(value, batch), flat(self.context, batch)
        each = self.values(self.network(x, context)).log_prob(x)  # N, C, H, W
        return each.sum((-1, -2, -3)).reshape(batch)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        context = flat(self.context, shape[:-3])
        x = context.new_zeros(len(context), *self.event_shape)
        for row in range(shape[-2]):
            seen = slice(row + 1)
            above = [
                a[..., -1:, :] for a in self.network.above(x[..., seen, :], context[..., seen, :])
            ]
            self._draw_row(x[..., row : row + 1, :], context[..., row : row + 1, :], above)
        return x.reshape(shape)

    def _draw_row(self, row: Tensor, context: Tensor, above: list[Tensor]) -> None:
        """Fills in ``row``, ``N | C, 1, W``."""
        for column in range(row.shape[-1]):
            here = slice(column, column + 1)
            known, pixel = self.network.before(row, context, above)[..., here], row[..., here]
            for channel in range(row.shape[-3]):
                drawn = self.values(self.network.within(pixel, known)).sample()
                pixel[:, channel] = drawn[:, channel]

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "Raster":
        batch = torch.Size(batch_shape)
        return Raster(
            self.network, self.values, self.like, self.context, batch, self._validate_args
        )


def flat(image: Tensor, batch: torch.Size) -> Tensor:
    """``batch | C, H, W`` with the batch, to which it is broadcast first, in one dimension."""
    event = image.shape[-3:]
    return image.expand(*batch, *event).reshape(-1, *event)
