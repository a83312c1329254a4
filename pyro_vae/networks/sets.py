"""Networks of sets, which ignore the order of the elements."""

import torch
from torch import Tensor

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.networks.mlp import MLP
from pyro_vae.networks.network import Network, NetworkFactory, Shape


class DeepSets(Network):
    """Map a set, in any order, to f(x_1, ..., x_n) = g(mean_i h(x_i), log(1 + n)).

    Elements of NaN pad smaller sets and are left out. Sets may be larger than those that it was made for.

    Args:
        in_shape: (elements, ...): a number of elements, and the shape of one.
        out_shape: shape of one output.
        element: makes h from the shape of an element and (width,).
        network: makes g from (width + 1,) and the output's shape.
        width: number of averaged features.

    Raises:
        InputError: the data are not sets, or ``width`` is below 1.

    Source: M. Zaheer, S. Kottur, S. Ravanbakhsh, B. Poczos, R. Salakhutdinov, A. Smola, "Deep sets", 2017,
    https://arxiv.org/abs/1703.06114.

    >>> x = torch.randn(4, 5, 3)
    >>> sets = DeepSets((5, 3), (2,))
    >>> torch.allclose(sets(x), sets(x.flip(1)), atol=1e-6)
    True
    """

    takes_missing = True

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        element: NetworkFactory = MLP,
        network: NetworkFactory = MLP,
        width: int = 64,
    ) -> None:
        super().__init__(in_shape, out_shape)
        if len(self.in_shape) < 2:
            raise InputError(
                f"DeepSets cannot take data of shape {self.in_shape}",
                subject="DeepSets",
                expected="sets (elements, values)",
                remedy="use MLP",
            )
        self.element = Network.make(element, self.in_shape[1:], (at_least_1("width", width),))
        self.network = Network.make(network, (width + 1,), out_shape)

    def takes(self, shape: Shape) -> bool:
        return len(shape) == len(self.in_shape) and tuple(shape[1:]) == self.in_shape[1:]

    def transform(self, x: Tensor) -> Tensor:
        exists = ~x.isnan().flatten(2).any(-1, keepdim=True)  # (N, elements, 1)
        shape = exists.shape[:2] + (1,) * (x.dim() - 2)
        values = self.element(torch.where(exists.reshape(shape), x, 0.0))  # (N, elements, width)
        size = exists.sum(1).to(x)
        mean = torch.where(exists, values, 0.0).sum(1) / size.clamp(min=1)
        return self.network(torch.cat([mean, size.log1p()], -1))
