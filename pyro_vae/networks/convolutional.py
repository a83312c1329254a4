"""Convolutional networks for images of any size."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError, sizes
from pyro_vae.networks.network import Network, Shape

Size = tuple[int, int]  # height and width


class ConvEncoder(Network):
    """Apply strided convolutions to an image of any size, then one linear map.

    Each layer halves height and width, rounded up.

    Args:
        in_shape: (channels, height, width).
        out_shape: shape of one output.
        channels: channels of each layer.
        activation: the nonlinearity after each layer.

    Raises:
        InputError: the input is not an image.

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

        def level(depth: int, next_depth: int) -> list[nn.Module]:
            return [nn.Conv2d(depth, next_depth, 3, stride=2, padding=1), activation()]

        self.layers = downwards(self.in_shape, self.out_shape, channels, level)

    def transform(self, x: Tensor) -> Tensor:
        return self.layers(channels_last(x))


class ConvDecoder(Network):
    """Apply one linear map, then transposed convolutions to an image: :class:`ConvEncoder` in reverse.

    Args:
        in_shape: shape of one input.
        out_shape: (..., channels, height, width); dimensions before the channels are folded into them.
        channels: channels of each layer, from the coarsest.
        activation: the nonlinearity before each convolution.

    Raises:
        InputError: the output is not an image.

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

        def level(depth: int, next_depth: int, coarse: Size, fine: Size) -> list[nn.Module]:
            extra = (fine[0] - (2 * coarse[0] - 1), fine[1] - (2 * coarse[1] - 1))
            up = nn.ConvTranspose2d(depth, next_depth, 3, stride=2, padding=1, output_padding=extra)
            return [activation(), up]

        self.layers = upwards(self.in_shape, self.out_shape, channels, level)

    def transform(self, x: Tensor) -> Tensor:
        return self.layers(x)


def downwards(
    image_shape: Shape,
    out_shape: Shape,
    channels: Sequence[int],
    level: Callable[[int, int], list[nn.Module]],
    last: Sequence[nn.Module] = (),
) -> nn.Sequential:
    """Return levels that each halve an image, made from two numbers of channels, then one linear map."""
    depths = [image_shape[0], *sizes("channels", channels)]
    sides = halvings(image_shape, len(channels))
    layers = [layer for pair in pairwise(depths) for layer in level(*pair)]
    flat = depths[-1] * math.prod(sides[-1])
    return nn.Sequential(*layers, *last, nn.Flatten(), nn.Linear(flat, math.prod(out_shape)))


def upwards(
    in_shape: Shape,
    image_shape: Shape,
    channels: Sequence[int],
    level: Callable[[int, int, Size, Size], list[nn.Module]],
) -> nn.Sequential:
    """Return one linear map, then levels that each double an image, made from channels and sizes."""
    depths = [*sizes("channels", channels), math.prod(image_shape[:-2])]
    sides = halvings(image_shape, len(channels))[::-1]  # coarse to fine
    start = [
        nn.Flatten(),
        nn.Linear(math.prod(in_shape), depths[0] * math.prod(sides[0])),
        ToImages(1, (depths[0], *sides[0])),
    ]
    steps = zip(pairwise(depths), pairwise(sides), strict=True)
    return nn.Sequential(*start, *(x for pair, size in steps for x in level(*pair, *size)))


def channels_last(images: Tensor) -> Tensor:
    """Return images that lie in memory pixel by pixel, as convolutions compute fastest; they stay so.

    ``contiguous`` would do nothing to a single channel.

    Source: "Channels last memory format in PyTorch",
    https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html.
    """
    return images.clone(memory_format=torch.channels_last)


class ToImages(nn.Unflatten):
    """Turn rows of numbers into images."""

    def forward(self, input: Tensor) -> Tensor:
        return channels_last(super().forward(input))


def halvings(image_shape: Shape, times: int) -> list[Size]:
    """Return (height, width) before and after each halving, rounded up."""
    if len(image_shape) < 3:
        raise InputError(
            f"a convolutional network cannot take shape {tuple(image_shape)}",
            subject="convolutional network",
            expected="images (channels, height, width)",
            remedy="use MLP",
        )
    sides = [(image_shape[-2], image_shape[-1])]
    for _ in range(times):
        height, width = sides[-1]
        sides.append(((height + 1) // 2, (width + 1) // 2))
    return sides
