"""Residual convolutional networks for images of any size."""

from collections.abc import Sequence

from torch import Tensor, nn

from pyro_vae.errors import at_least
from pyro_vae.networks.convolutional import Size, channels_last, downwards, upwards
from pyro_vae.networks.network import Network, Shape


class ResidualBlock(nn.Module):
    """Return x + f(x), with f two convolutions, each after a nonlinearity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class ResidualEncoder(Network):
    """Apply strided convolutions, each followed by residual blocks, then one linear map.

    Each level halves height and width, rounded up.

    Args:
        in_shape: (channels, height, width).
        out_shape: shape of one output.
        channels: channels of each level.
        blocks: number of residual blocks at each level.

    Raises:
        InputError: the input is not an image, or ``blocks`` is negative.

    Source: K. He, X. Zhang, S. Ren, J. Sun, "Identity mappings in deep residual networks", 2016,
    https://arxiv.org/abs/1603.05027.

    >>> import torch
    >>> ResidualEncoder((3, 21, 13), (2, 8))(torch.zeros(4, 3, 21, 13)).shape
    torch.Size([4, 2, 8])
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (32, 64, 64),
        blocks: int = 1,
    ) -> None:
        super().__init__(in_shape, out_shape)
        at_least(0, "blocks", blocks)

        def level(depth: int, next_depth: int) -> list[nn.Module]:
            down = nn.Conv2d(depth, next_depth, 3, stride=2, padding=1)
            return [down, *(ResidualBlock(next_depth) for _ in range(blocks))]

        self.layers = downwards(self.in_shape, self.out_shape, channels, level, [nn.SiLU()])

    def transform(self, x: Tensor) -> Tensor:
        return self.layers(channels_last(x))


class ResidualDecoder(Network):
    """Apply one linear map, then residual blocks at growing sizes: :class:`ResidualEncoder` in reverse.

    Args:
        in_shape: shape of one input.
        out_shape: (..., channels, height, width); dimensions before the channels are folded into them.
        channels: channels of each level, from the coarsest.
        blocks: number of residual blocks at each level.

    Raises:
        InputError: the output is not an image, or ``blocks`` is negative.

    Source: A. Odena, V. Dumoulin, C. Olah, "Deconvolution and checkerboard artifacts", 2016,
    https://doi.org/10.23915/distill.00003, for upsampling before a convolution.

    >>> import torch
    >>> ResidualDecoder((8,), (2, 3, 21, 13))(torch.zeros(4, 8)).shape
    torch.Size([4, 2, 3, 21, 13])
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        channels: Sequence[int] = (64, 64, 32),
        blocks: int = 1,
    ) -> None:
        super().__init__(in_shape, out_shape)
        at_least(0, "blocks", blocks)

        def level(depth: int, next_depth: int, coarse: Size, fine: Size) -> list[nn.Module]:
            before: list[nn.Module] = [ResidualBlock(depth) for _ in range(blocks)]
            enlarged = nn.Conv2d(depth, next_depth, 3, padding=1)
            return [*before, nn.SiLU(), nn.Upsample(fine), enlarged]

        self.layers = upwards(self.in_shape, self.out_shape, channels, level)

    def transform(self, x: Tensor) -> Tensor:
        return self.layers(x)
