"""Guides of several latent layers; they differ in the order in which they draw the layers."""

import abc
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import pyro.distributions as dist
from torch import Tensor, nn

from pyro_vae.errors import at_least_1
from pyro_vae.guides.guide import AmortizedGuide
from pyro_vae.guides.normal import MeanFieldNormal, diagonal_normal
from pyro_vae.networks import MLP, Network, NetworkFactory, Shape
from pyro_vae.parts import Part

Conditional = Callable[[Tensor], dist.TorchDistribution]


class HierarchicalGuide(Part):
    """Map x to q(z_1, ..., z_L | x) as a chain of conditionals, in the order of drawing.

    Args:
        data_shape: shape of x.
        latent_dims: sizes of z_1 (nearest to x), ..., z_L.
        encoder: makes the network that reads x, from an input and an output shape.
        between: makes the networks between layers, from an input and an output shape.
        layers: the model's p(z_l | z_(l+1)), l = 1, ..., L - 1, for a guide that uses them.
    """

    @property
    @abc.abstractmethod
    def encoder(self) -> Network:
        """The network that reads x."""

    @abc.abstractmethod
    def forward(self, x: Tensor) -> list[tuple[int, Conditional]]:
        """Return the number and the conditional of each layer.

        A conditional is called with the layer drawn before, ``batch | Z``; the first one with x.
        """


HierarchicalGuideFactory = Callable[
    [Shape, Sequence[int], NetworkFactory, NetworkFactory, Sequence[AmortizedGuide]],
    HierarchicalGuide,
]


class BottomUp(HierarchicalGuide):
    """Draw the layers from the data up, each by a diagonal Gaussian.

        q(z | x) = q(z_1 | x) q(z_2 | z_1) ... q(z_L | z_(L-1)).

    Source: D. J. Rezende, S. Mohamed, D. Wierstra, "Stochastic backpropagation and approximate inference in
    deep generative models", 2014, https://arxiv.org/abs/1401.4082; Y. Burda, R. Grosse, R. Salakhutdinov,
    "Importance weighted autoencoders", 2015, https://arxiv.org/abs/1509.00519.

    >>> [layer for layer, _ in BottomUp((6,), (4, 2))(torch.zeros(5, 6))]
    [1, 2]
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dims: Sequence[int],
        encoder: NetworkFactory = MLP,
        between: NetworkFactory = MLP,
        layers: Sequence[AmortizedGuide] = (),
    ) -> None:
        super().__init__()
        inputs = [data_shape, *((size,) for size in latent_dims)]
        networks = [encoder, *[between] * (len(latent_dims) - 1)]
        self.layers = nn.ModuleList(map(MeanFieldNormal, inputs, latent_dims, networks))

    @property
    def encoder(self) -> Network:
        return cast(MeanFieldNormal, self.layers[0]).encoder

    def forward(self, x: Tensor) -> list[tuple[int, Conditional]]:
        return [(layer, q) for layer, q in enumerate(self.layers, 1)]


class Ladder(HierarchicalGuide):
    """Draw the layers from the top down, in the model's order.

        q(z | x) = q(z_L | x) q(z_(L-1) | z_L, x) ... q(z_1 | z_2, x).

    A pass from x upwards gives each layer a Gaussian r_l(z_l; x). The top one is q(z_L | x). Below it,

        q(z_l | z_(l+1), x) ∝ p(z_l | z_(l+1)) r_l(z_l; x),

    so precisions add up and weight the locations. This guide reaches a KL of 0 easily and may leave layers
    unused: train it with ``kl_warmup``, as the paper does.

    Args:
        data_shape: shape of x.
        latent_dims: sizes of z_1 (nearest to x), ..., z_L.
        encoder: makes the network that reads x, from an input and an output shape.
        between: makes the networks from layer to layer, from an input and an output shape.
        layers: the model's p(z_l | z_(l+1)), l = 1, ..., L - 1.
        width: number of features between the layers of the upward pass.

    Raises:
        InputError: ``width`` is less than 1.

    Source: C. K. Sønderby, T. Raiko, L. Maaløe, S. K. Sønderby, O. Winther, "Ladder variational
    autoencoders", 2016, https://arxiv.org/abs/1602.02282.

    >>> layers = [MeanFieldNormal((2,), 4)]
    >>> [layer for layer, _ in Ladder((6,), (4, 2), layers=layers)(torch.zeros(5, 6))]
    [2, 1]
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dims: Sequence[int],
        encoder: NetworkFactory = MLP,
        between: NetworkFactory = MLP,
        layers: Sequence[AmortizedGuide] = (),
        width: int = 128,
    ) -> None:
        super().__init__()
        ups = [Network.make(encoder, data_shape, (at_least_1("width", width),))]
        ups += [Network.make(between, (width,), (width,)) for _ in latent_dims[1:]]
        self.ups = nn.ModuleList(ups)
        self.heads = nn.ModuleList(nn.Linear(width, 2 * size) for size in latent_dims)
        self._layers = tuple(layers)  # a tuple, so that the model alone owns their parameters

    @property
    def encoder(self) -> Network:
        return cast(Network, self.ups[0])

    def forward(self, x: Tensor) -> list[tuple[int, Conditional]]:
        upward: list[dist.Independent] = []  # r_1, ..., r_L
        for up, head in zip(self.ups, self.heads, strict=True):
            x = up(x)
            upward.append(diagonal_normal(*head(x).chunk(2, -1)))  # (B | Z_l)
        *lower, top = upward
        chain: list[tuple[int, Conditional]] = [(len(upward), lambda _: top)]
        below = list(enumerate(zip(self._layers, lower, strict=True), 1))
        return chain + [(layer, partial(_product, p, r)) for layer, (p, r) in reversed(below)]


def _product(p: AmortizedGuide, r: dist.Independent, above: Tensor) -> dist.TorchDistribution:
    """Return p(z | above) r(z), normalised."""
    prior, data = p(above).base_dist, r.base_dist
    prior_precision, data_precision = prior.scale.pow(-2), data.scale.pow(-2)
    precision = prior_precision + data_precision
    loc = (prior_precision * prior.loc + data_precision * data.loc) / precision
    return dist.Normal(loc, precision.rsqrt()).to_event(1)
