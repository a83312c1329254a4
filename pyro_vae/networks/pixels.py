"""A network of images that looks at the pixels before alone."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import glu

from pyro_vae.errors import InputError, at_least_1

Padding = tuple[int, int, int, int]  # left, right, top, bottom


class CausalPixels(nn.Module):
    """Numbers for each value of an image, from the values before it and a context at its pixel.

    Pixels come in reading order, and in each its channels in theirs. One stack of gated convolutions looks
    at the rows above, another at what is left of a pixel in its row and at the first; so none of the pixels
    within reach is missed. Instead of a mask, each stack's first layer reads the image shifted by one.

    Not a :class:`~pyro_vae.networks.Network`: it reads an image, ``N | C, H, W``, and a context,
    ``N | width, H, W``. Its three steps can be taken one after another, for parts of an image.

    Source: A. van den Oord, N. Kalchbrenner, O. Vinyals, L. Espeholt, A. Graves, K. Kavukcuoglu,
    "Conditional image generation with PixelCNN decoders", 2016, https://arxiv.org/abs/1606.05328; shifts:
    T. Salimans, A. Karpathy, X. Chen, D. P. Kingma, "PixelCNN++", 2017, https://arxiv.org/abs/1701.05517.

    Args:
        num_channels: C.
        num_outputs: how many numbers there are for each value.
        width: features at each pixel.
        num_layers: gated layers after the first.
        kernel_size: side of the square around a pixel that one layer looks at the upper half of; odd.

    :raises InputError: sizes below 1, or an even side.

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
            raise InputError(f"kernel_size must be odd and at least 1, not {kernel_size}")
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
        """``N | num_outputs, C, H, W``."""
        return self.within(x, self.before(x, context, self.above(x, context)))

    def above(self, x: Tensor, context: Tensor) -> list[Tensor]:
        """What each layer makes of the rows above each pixel, ``N | width, H, W``."""
        features, found = self.above_first(x) + context, []
        for layer in self.layers:
            features = features + glu(layer.above(features), 1)
            found.append(features)
        return found

    def before(self, x: Tensor, context: Tensor, above: Sequence[Tensor]) -> Tensor:
        """What is known before each pixel, ``N | width, H, W``: of that above, and left in its row."""
        features = self.before_first(x) + context
        for layer, over in zip(self.layers, above, strict=True):
            gated = glu(layer.before(features) + layer.across(over), 1)
            features = features + layer.out(gated)
        return features

    def within(self, x: Tensor, before: Tensor) -> Tensor:
        """The numbers of each channel: from what is known before its pixel, and the channels before it."""
        read = (torch.cat([before, x[:, :channel]], 1) for channel in range(len(self.heads)))
        return torch.stack([head(seen) for head, seen in zip(self.heads, read, strict=True)], 2)


class _Layer(nn.Module):
    """The convolutions of one layer of both stacks, to twice the features where a gate follows."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.above = _padded(width, 2 * width, (side + 1, 2 * side + 1), (side, side, side, 0))
        self.before = _padded(width, 2 * width, (1, side + 1), (side, 0, 0, 0))
        self.across = nn.Conv2d(width, 2 * width, 1)
        self.out = nn.Conv2d(width, width, 1)


def _padded(depth: int, next_depth: int, size: tuple[int, int], padding: Padding) -> nn.Sequential:
    return nn.Sequential(nn.ZeroPad2d(padding), nn.Conv2d(depth, next_depth, size))
