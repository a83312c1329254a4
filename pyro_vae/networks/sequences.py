"""Networks of sequences, whose first dimension is time."""

import math

import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.networks.network import Network, Shape


class GRU(Network):
    """Read a sequence in both directions by gated recurrent units, then map the last states linearly.

    Args:
        in_shape: (steps, ...); what follows the steps is one vector.
        out_shape: shape of one output.
        hidden_dim: size of the state in each direction.
        num_layers: layers of the recurrent network.

    Raises:
        InputError: a size is below 1.

    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
    machine translation", 2014, https://arxiv.org/abs/1406.1078.

    >>> GRU((7, 3), (2, 8))(torch.zeros(4, 7, 3)).shape
    torch.Size([4, 2, 8])
    """

    def __init__(
        self, in_shape: Shape, out_shape: Shape, hidden_dim: int = 64, num_layers: int = 1
    ) -> None:
        super().__init__(in_shape, out_shape)
        at_least_1("hidden_dim", hidden_dim)
        at_least_1("num_layers", num_layers)
        values = math.prod(self.in_shape[1:])
        self.recurrent = nn.GRU(
            values, hidden_dim, num_layers, batch_first=True, bidirectional=True
        )
        self.last = nn.Linear(2 * hidden_dim, math.prod(self.out_shape))

    def transform(self, x: Tensor) -> Tensor:
        _, states = self.recurrent(x.unsqueeze(-1).flatten(2))  # (2 * layers, N, hidden)
        return self.last(torch.cat([states[-2], states[-1]], -1))


class Transformer(Network):
    """Apply self-attention between the steps of a sequence, then map their mean linearly.

    The positions are learned.

    Args:
        in_shape: (steps, ...); what follows the steps is one vector.
        out_shape: shape of one output.
        width: size of a step's vector.
        num_heads: attention heads, a divisor of ``width``.
        num_layers: layers of attention.

    Raises:
        InputError: ``num_heads`` does not divide ``width``, or a size is below 1.

    Source: A. Vaswani et al., "Attention is all you need", 2017, https://arxiv.org/abs/1706.03762; with
    norms before the layers: R. Xiong et al., "On layer normalization in the transformer architecture",
    2020, https://arxiv.org/abs/2002.04745.

    >>> Transformer((7, 3), (2, 8))(torch.zeros(4, 7, 3)).shape
    torch.Size([4, 2, 8])
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        width: int = 64,
        num_heads: int = 4,
        num_layers: int = 2,
    ) -> None:
        super().__init__(in_shape, out_shape)
        for name, size in (("width", width), ("num_heads", num_heads), ("num_layers", num_layers)):
            at_least_1(name, size)
        if width % num_heads:
            raise InputError(
                f"num_heads is {num_heads}",
                subject="num_heads",
                expected=f"a divisor of width, {width}",
            )
        self.first = nn.Linear(math.prod(self.in_shape[1:]), width)
        self.positions = nn.Parameter(0.1 * torch.randn(self.in_shape[0], width))
        layer = nn.TransformerEncoderLayer(
            width, num_heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.attention = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, math.prod(self.out_shape)))

    def transform(self, x: Tensor) -> Tensor:
        steps = self.first(x.unsqueeze(-1).flatten(2)) + self.positions  # (N, steps, width)
        return self.last(self.attention(steps).mean(1))
