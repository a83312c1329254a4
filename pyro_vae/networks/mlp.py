"""Networks of fully connected layers."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from pyro_vae.errors import sizes
from pyro_vae.networks.network import Network, Shape


class MLP(Network):
    """Apply a multilayer perceptron.

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

        def hidden(width: int, next_width: int) -> list[nn.Module]:
            return [nn.Linear(width, next_width), activation()]

        self.layers = _layers(self.in_shape, self.out_shape, hidden_dims, hidden)

    def transform(self, x: Tensor) -> Tensor:
        return self.layers(x)


class GatedMLP(Network):
    """Apply a multilayer perceptron with gated hidden layers, h = (A x + a) * sigmoid(B x + b).

    Args:
        in_shape: shape of one input.
        out_shape: shape of one output.
        hidden_dims: width of each hidden layer.

    Source: Y. N. Dauphin, A. Fan, M. Auli, D. Grangier, "Language modeling with gated convolutional
    networks", 2017, https://arxiv.org/abs/1612.08083; in VAEs: J. M. Tomczak, M. Welling, "VAE with a
    VampPrior", 2017, https://arxiv.org/abs/1705.07120.

    >>> import torch
    >>> GatedMLP((1, 8, 8), (2, 16))(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 2, 16])
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, hidden_dims: Sequence[int] = (200, 200)
    ) -> None:
        super().__init__(in_shape, out_shape)

        def hidden(width: int, next_width: int) -> list[nn.Module]:
            return [nn.Linear(width, 2 * next_width), nn.GLU()]

        self.layers = _layers(self.in_shape, self.out_shape, hidden_dims, hidden)

    def transform(self, x: Tensor) -> Tensor:
        return self.layers(x)


def _layers(
    in_shape: Shape,
    out_shape: Shape,
    hidden_dims: Sequence[int],
    hidden: Callable[[int, int], list[nn.Module]],
) -> nn.Sequential:
    """Return hidden layers, made from two widths, and a last linear one."""
    widths = [math.prod(in_shape), *sizes("hidden_dims", hidden_dims)]
    layers = [layer for pair in pairwise(widths) for layer in hidden(*pair)]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(widths[-1], math.prod(out_shape)))
