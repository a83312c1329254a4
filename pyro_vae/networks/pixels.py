"""A network of images whose output at a value depends on earlier values only."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import glu

from pyro_vae.errors import InputError, at_least_1

Padding = tuple[int, int, int, int]  # left, right, top, bottom


class CausalPixels(nn.Module):
    """Return parameters for each value of an image, from the values before it and a context at its pixel.

    Pixels follow in reading order, and the channels of a pixel in theirs. One stack of gated convolutions
    reads the rows above a pixel. Another reads the pixels on its left and the first stack, so no pixel
    within reach is missed. Each stack's first layer reads a shifted image, which replaces a mask.

    It is not a :class:`~pyro_vae.networks.Network`: it reads an image, ``N | C, H, W``, and a context,
    ``N | width, H, W``. Its three steps can run one by one, on parts of an image.

    Args:
        num_channels: C.
        num_outputs: number of parameters for each value.
        width: features at each pixel.
        num_layers: gated layers after the first.
        kernel_size: side of the square around a pixel whose upper half one layer reads; odd.

    Raises:
        InputError: a size is below 1, or ``kernel_size`` is even.

    Source: A. van den Oord, N. Kalchbrenner, O. Vinyals, L. Espeholt, A. Graves, K. Kavukcuoglu,
    "Conditional image generation with PixelCNN decoders", 2016, https://arxiv.org/abs/1606.05328; shifts:
    T. Salimans, A. Karpathy, X. Chen, D. P. Kingma, "PixelCNN++", 2017, https://arxiv.org/abs/1701.05517.

    >>> CausalPixels(3, 2, width=8)(torch.zeros(5, 3, 4, 6), torch.zeros(5, 8, 4, 6)).shape
    torch.Size([5, 2, 3, 4, 6])
    """

    def __init__(
        self,
        num_channels: int,
        num_outputs: int,
        width: int = 32,
        num_layers: int = 3,
        kernel_size: int = 5,
    ) -> None:
        super().__init__()
        for name, size in (("width", width), ("num_layers", num_layers)):
            at_least_1(name, size)
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(
                f"kernel_size is {kernel_size}",
                subject="kernel_size",
                expected="an odd number of at least 1",
            )
        side, back = kernel_size // 2, kernel_size // 2 + 1
        self.above_first = _padded(num_channels, width, (back, kernel_size), (side, side, back, -1))
        self.before_first = _padded(num_channels, width, (1, back), (back, -1, 0, 0))
        layers = nn.ModuleList(_Layer(width, side) for _ in range(num_layers))
        self.layers: Iterable[_Layer] = layers  # type: ignore[assignment]
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width + before, width, 1), nn.SiLU(), nn.Conv2d(width, num_outputs, 1)
            )
            for before in range(num_channels)
        )

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return parameters ``N | num_outputs, C, H, W``."""
        return self.read_pixel(x, self.read_before(x, context, self.read_above(x, context)))

    def read_above(self, x: Tensor, context: Tensor) -> list[Tensor]:
        """Return each layer's features of the rows above each pixel, ``N | width, H, W``."""
        features, layers = self.above_first(x) + context, []
        for layer in self.layers:
            features = features + glu(layer.above(features), 1)
            layers.append(features)
        return layers

    def read_before(self, x: Tensor, context: Tensor, above: Sequence[Tensor]) -> Tensor:
        """Return features of all that precedes each pixel, ``N | width, H, W``."""
        features = self.before_first(x) + context
        for layer, features_above in zip(self.layers, above, strict=True):
            gated = glu(layer.before(features) + layer.across(features_above), 1)
            features = features + layer.out(gated)
        return features

    def read_pixel(self, x: Tensor, before: Tensor) -> Tensor:
        """Return the parameters of each channel, from ``before`` and the pixel's earlier channels."""
        channels = [
            head(torch.cat([before, x[:, :channel]], 1)) for channel, head in enumerate(self.heads)
        ]
        return torch.stack(channels, 2)


class _Layer(nn.Module):
    """Hold the convolutions of one layer of both stacks; those before a gate double the features."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.above = _padded(width, 2 * width, (side + 1, 2 * side + 1), (side, side, side, 0))
        self.before = _padded(width, 2 * width, (1, side + 1), (side, 0, 0, 0))
        self.across = nn.Conv2d(width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)


def _padded(depth: int, next_depth: int, size: tuple[int, int], padding: Padding) -> nn.Sequential:
    return nn.Sequential(nn.ZeroPad2d(padding), nn.Conv2d(depth, next_depth, size))
