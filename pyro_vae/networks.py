"""Networks: tensors in, tensors out, no probability in them.

A network is made from two shapes, that of one input and that of one output, and whatever else its
class takes; it maps ``batch | in_shape`` to ``batch | out_shape`` for any number of batch
dimensions. Where a part of a model wants a network it takes anything that can be called with the two
shapes: a class here, or ``functools.partial(MLP, hidden_dims=(200, 200))``.
"""

import abc
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from pyro_vae.errors import InputError

Shape = Sequence[int]


class Network(nn.Module, abc.ABC):
    """Maps ``batch | in_shape`` to ``batch | out_shape``; subclasses say how for one batch dimension.

    :raises InputError: an input whose last dimensions are not ``in_shape``.
    """

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)

    def forward(self, x: Tensor) -> Tensor:
        batch_dims = x.dim() - len(self.in_shape)
        if batch_dims < 0 or x.shape[batch_dims:] != self.in_shape:
            raise InputError(
                f"{type(self).__name__} takes inputs of shape {self.in_shape}, "
                f"not {tuple(x.shape[max(batch_dims, 0) :])}"
            )
        out = self.transform(x.reshape(-1, *self.in_shape))  # N | in_shape
        return out.reshape(*x.shape[:batch_dims], *self.out_shape)

    @abc.abstractmethod
    def transform(self, x: Tensor) -> Tensor:
        """``N | in_shape`` to N rows of as many numbers as ``out_shape`` holds."""


NetworkFactory = Callable[[Shape, Shape], Network]


class MLP(Network):
    """A multilayer perceptron.

    Args:
        in_shape: shape of one input.
        out_shape: shape of one output.
        hidden_dims: width of each hidden layer.
        activation: the nonlinearity after each hidden layer.

    >>> import torch
    >>> MLP((1, 8, 8), (2, 16))(torch.zeros(5, 3, 1, 8, 8)).shape
    torch.Size([5, 3, 2, 16])
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        hidden_dims: Sequence[int] = (200, 200),
        activation: Callable[[], nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__(in_shape, out_shape)
        widths = [math.prod(self.in_shape), *hidden_dims]
        layers: list[nn.Module] = [nn.Flatten()]
        for width, next_width in pairwise(widths):
            layers += [nn.Linear(width, next_width), activation()]
        layers.append(nn.Linear(widths[-1], math.prod(self.out_shape)))
        self.layers = nn.Sequential(*layers)

    def transform(self, x: Tensor) -> Tensor:
        return self.layers(x)


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
        sizes = _halvings(self.in_shape, len(channels))
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
        sizes = _halvings(self.out_shape, len(channels))[::-1]  # coarse to fine
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


def _halvings(image_shape: Shape, times: int) -> list[tuple[int, int]]:
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
