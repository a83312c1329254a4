"""Convolutional networks for images of any size."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.networks.network import Network, Shape


class ConvEncoder(Network):
    """Strided convolutions over an image of any size and channel count, then one linear map.

    Each layer halves height and width, rounding up.

    Args:
        in_shape: (channels, height, width).
        out_shape: shape of one output.
        channels: channels of each layer.
        activation: the nonlinearity after each layer.

    >>> import torch
    >>> ConvEncoder((3, 21, 13), (2, 8))(torch.zeros(4, 3, 21, 13)).shape
    torch.Size([4, 2, 8])
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (32, 64, 64),
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__(in_shape, out_shape)
        sizes = halvings(self.in_shape, len(channels))
        depths = [self.in_shape[0], *channels]
        layers: list[nn.Module] = []
        for depth, next_depth in pairwise(depths):
            layers += [nn.Conv2d(depth, next_depth, 3, stride=2, padding=1), activation()]
        flat = depths[-1] * math.prod(sizes[-1])
        layers += [nn.Flatten(), nn.Linear(flat, math.prod(self.out_shape))]
        self.layers = nn.Sequential(*layers)

    def transform(self, x: Tensor) -> Tensor:
        return self.layers(x)


class ConvDecoder(Network):
    """The mirror of :class:`ConvEncoder`: one linear map, then transposed convolutions to an image.

    Args:
        in_shape: shape of one input.
        out_shape: (..., channels, height, width); dimensions before the channels are folded into them.
        channels: channels of each layer, from the coarsest.
        activation: the nonlinearity before each convolution.

    >>> import torch
    >>> ConvDecoder((8,), (2, 3, 21, 13))(torch.zeros(4, 8)).shape
    torch.Size([4, 2, 3, 21, 13])
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (64, 64, 32),
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__(in_shape, out_shape)
        sizes = halvings(self.out_shape, len(channels))[::-1]  # coarse to fine
        depths = [*channels, math.prod(self.out_shape[:-2])]
        layers: list[nn.Module] = [
            nn.Flatten(),
            nn.Linear(math.prod(self.in_shape), depths[0] * math.prod(sizes[0])),
            nn.Unflatten(1, (depths[0], *sizes[0])),
        ]
        for i, (height, width) in enumerate(sizes[1:]):
            coarse_height, coarse_width = sizes[i]
            extra = (height - (2 * coarse_height - 1), width - (2 * coarse_width - 1))
            up = nn.ConvTranspose2d(
                depths[i], depths[i + 1], 3, stride=2, padding=1, output_padding=extra
            )
            layers += [activation(), up]
        self.layers = nn.Sequential(*layers)

    def transform(self, x: Tensor) -> Tensor:
        return self.layers(x)


def halvings(image_shape: Shape, times: int) -> list[tuple[int, int]]:
    """(height, width) and what is left of it after each halving, rounding up."""
    if len(image_shape) < 3:
        raise InputError(
            f"a convolutional network needs images (channels, height, width), not data of shape "
            f"{tuple(image_shape)}; use MLP"
        )
    sizes = [(image_shape[-2], image_shape[-1])]
    for _ in range(times):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes
