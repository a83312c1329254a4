"""Convolutional networks of GANs, for images of any size."""

from collections.abc import Sequence

from torch import Tensor, nn

from pyro_vae.networks.convolutional import Size, channels_last, downwards, halvings, upwards
from pyro_vae.networks.network import Network, Shape

LEAST_SIDE, WIDEST, NARROWEST = 4, 128, 32  # pixels; channels


def default_channels(image_shape: Shape) -> list[int]:
    """Return the channels of layers that each halve an image, down to 4 pixels of its shorter side.

    A layer on 2 x 2 pixels or fewer sees nothing but their edges: with three layers for images of 8 x 8, a
    game of digits took twice as long to get half as far.

    >>> default_channels((1, 8, 8)), default_channels((1, 28, 28)), default_channels((3, 64, 64))
    ([128], [32, 64, 128], [32, 64, 128, 256])
    """
    shorter = [min(side) for side in halvings(image_shape, 16)]
    levels = max(1, sum(side >= LEAST_SIDE for side in shorter[1:]))
    finest = max(NARROWEST, WIDEST >> (levels - 1))
    return [finest << level for level in range(levels)]


class DCGANGenerator(Network):
    """Apply one linear map, then transposed convolutions of 5 x 5 to an image, with batch normalisation.

    Each layer doubles height and width. While it is trained, the images of a batch depend on one another;
    afterwards, as in an evidence, they do not.

    Args:
        in_shape: shape of one input.
        out_shape: (..., channels, height, width).
        channels: channels of each layer, from the coarsest; by default as many as start from 4 pixels of
            the shorter side or more: 128, 64, 32 for 28 x 28 pixels, and 128 alone for 8 x 8.

    Raises:
        InputError: the output is not an image.

    Source: A. Radford, L. Metz, S. Chintala, "Unsupervised representation learning with deep convolutional
    generative adversarial networks", 2015, https://arxiv.org/abs/1511.06434 (without its last tanh).

    >>> import torch
    >>> DCGANGenerator((8,), (3, 21, 13))(torch.zeros(4, 8)).shape
    torch.Size([4, 3, 21, 13])
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, channels: Sequence[int] | None = None
    ) -> None:
        super().__init__(in_shape, out_shape)
        if channels is None:
            channels = default_channels(self.out_shape)[::-1]

        def level(depth: int, next_depth: int, coarse: Size, fine: Size) -> list[nn.Module]:
            extra = (fine[0] - (2 * coarse[0] - 1), fine[1] - (2 * coarse[1] - 1))
            up = nn.ConvTranspose2d(depth, next_depth, 5, stride=2, padding=2, output_padding=extra)
            return [nn.BatchNorm2d(depth), nn.ReLU(), up]

        self.layers = upwards(self.in_shape, self.out_shape, channels, level)

    def transform(self, x: Tensor) -> Tensor:
        return self.layers(x)


class DCGANDiscriminator(Network):
    """Apply strided convolutions of 5 x 5 to an image, with leaky rectifiers, then one linear map.

    Each layer halves height and width, rounded up. It has no batch normalisation, so a penalty on the slope
    at one image is of that image alone.

    Args:
        in_shape: (channels, height, width).
        out_shape: shape of one output.
        channels: channels of each layer; by default those of :class:`DCGANGenerator`, in reverse.

    Raises:
        InputError: the input is not an image.

    Source: as of :class:`DCGANGenerator`.

    >>> import torch
    >>> DCGANDiscriminator((3, 21, 13), (1,))(torch.zeros(4, 3, 21, 13)).shape
    torch.Size([4, 1])
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, channels: Sequence[int] | None = None
    ) -> None:
        super().__init__(in_shape, out_shape)
        channels = default_channels(self.in_shape) if channels is None else channels

        def level(depth: int, next_depth: int) -> list[nn.Module]:
            return [nn.Conv2d(depth, next_depth, 5, stride=2, padding=2), nn.LeakyReLU(0.2)]

        self.layers = downwards(self.in_shape, self.out_shape, channels, level)

    def transform(self, x: Tensor) -> Tensor:
        return self.layers(channels_last(x))
