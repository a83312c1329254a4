"""Priors that move a Gaussian by a flow."""

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae.flows import Autoregressive, Flow, FlowFactory
from pyro_vae.guides import AmortizedGuide
from pyro_vae.priors.prior import Prior


class FlowPrior(Prior):
    """Draw z = f(e) with e ~ Normal(0, I) and f a flow.

    log p(z) = log Normal(f^-1(z) | 0, I) + log |d f^-1 / dz|.

    Args:
        latent_dim: size Z of z.
        guide: not used.
        flow: makes f from the latent dimension and a context dimension of 0 (:mod:`pyro_vae.flows`).

    Raises:
        InputError: ``flow`` does not make a flow.

    Source: X. Chen, D. P. Kingma, T. Salimans, Y. Duan, P. Dhariwal, J. Schulman, I. Sutskever, P. Abbeel,
    "Variational lossy autoencoder", 2016, https://arxiv.org/abs/1611.02731.

    >>> from pyro_vae.flows import NeuralSpline
    >>> FlowPrior(3, flow=NeuralSpline)().log_prob(torch.zeros(5, 3)).shape
    torch.Size([5])
    """

    zero: Tensor

    def __init__(
        self,
        latent_dim: int,
        guide: AmortizedGuide | None = None,
        flow: FlowFactory = Autoregressive,
    ) -> None:
        super().__init__(latent_dim, guide)
        self.flow = Flow.make(flow, latent_dim, 0)
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        noise = dist.Normal(self.zero, torch.ones_like(self.zero)).to_event(1)
        return dist.TransformedDistribution(noise, [self.flow()])
