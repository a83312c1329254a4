"""Likelihoods of values from 0 to 1."""

import pyro.distributions as dist
from torch import Tensor
from torch.nn.functional import softplus

from pyro_vae import distributions
from pyro_vae.likelihoods.likelihood import Likelihood


class Bernoulli(Likelihood):
    """Model values that are 0 or 1: p(x | z) = prod_i Bernoulli(x_i | logits = decoder(z)_i).

    >>> Bernoulli(2, (1, 8, 8))(torch.zeros(5, 2)).event_shape
    torch.Size([1, 8, 8])
    """

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        (logits,) = self.split(parameters)
        return dist.Bernoulli(logits=logits)


class ContinuousBernoulli(Likelihood):
    """Model values in [0, 1]: p(x | z) = prod_i C(l_i) l_i^x_i (1 - l_i)^(1 - x_i).

    l_i = sigmoid(decoder(z)_i), and C normalises the density.

    Source: G. Loaiza-Ganem, J. P. Cunningham, "The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders", 2019, https://arxiv.org/abs/1907.06845.

    >>> ContinuousBernoulli(2, (4,))(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        (logits,) = self.split(parameters)
        return distributions.ContinuousBernoulli(logits)


class Beta(Likelihood):
    """Model values in (0, 1), without the ends: p(x | z) = prod_i Beta(x_i | a_i(z), b_i(z)).

    >>> Beta(2, (4,))(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    parameters_per_value = 2

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        a, b = self.split(softplus(parameters) + 1e-3)
        return distributions.Beta(a, b)
