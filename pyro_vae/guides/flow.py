"""Guides that move a Gaussian by a flow."""

import pyro.distributions as dist
from torch import Tensor

from pyro_vae.errors import at_least
from pyro_vae.flows import Flow, FlowFactory, InverseAutoregressive
from pyro_vae.guides.guide import AmortizedGuide
from pyro_vae.guides.normal import diagonal_normal
from pyro_vae.networks import MLP, NetworkFactory, Shape


class FlowGuide(AmortizedGuide):
    """Draw z = f(e; context(x)) with e ~ prod_d Normal(loc_d(x), scale_d(x)) and f a flow.

    log q(z | x) = log Normal(e | loc, scale) - log |df / de|.

    Args:
        data_shape: shape of x.
        latent_dim: size Z of z.
        encoder: makes the network from an input and an output shape.
        flow: makes f from the latent and the context dimension (:mod:`pyro_vae.flows`).
        context_dim: size of the context, which the encoder gives to f.

    Raises:
        InputError: ``context_dim`` is negative, or ``flow`` does not make a flow.

    Source: D. J. Rezende, S. Mohamed, "Variational inference with normalizing flows", 2015,
    https://arxiv.org/abs/1505.05770; with a context: D. P. Kingma et al., "Improving variational inference
    with inverse autoregressive flow", 2016, https://arxiv.org/abs/1606.04934.

    >>> from functools import partial
    >>> from pyro_vae.flows import Coupling
    >>> guide = FlowGuide((6,), 3, flow=partial(Coupling, num_layers=2))
    >>> guide(torch.zeros(5, 6)).sample().shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int,
        encoder: NetworkFactory = MLP,
        flow: FlowFactory = InverseAutoregressive,
        context_dim: int = 16,
    ) -> None:
        self.context_dim = at_least(0, "context_dim", context_dim)
        super().__init__(data_shape, latent_dim, encoder)
        self.flow = Flow.make(flow, latent_dim, context_dim)

    def parameter_shape(self) -> Shape:
        return (2 * self.latent_dim + self.context_dim,)

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        sizes = self.latent_dim, self.latent_dim, self.context_dim
        loc, log_scale, context = self.encoder(x).split(sizes, -1)
        noise = diagonal_normal(loc, log_scale)
        return dist.TransformedDistribution(noise, [self.flow(context)])
