"""Likelihoods of counts 0, 1, 2, ..."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae import distributions
from pyro_vae.likelihoods.likelihood import Likelihood
from pyro_vae.links import RATE, log_link
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.scaling import Scaling


class Counts(Likelihood):
    """Model counts in units of the data's means m, which the first fit learns from its rows.

    A mean is m_i exp(decoder(z)_i), and m is 1 before a fit (:class:`pyro_vae.scaling.Scaling`). Above
    exp(15) m_i, about 3 million, it grows only linearly in the decoder's output
    (:func:`pyro_vae.links.log_link`), so an initial output of 60 does not give a mean of 1e26.
    """

    encoder_scaling = "log"

    def __init__(self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.scaling = Scaling(data_shape)  # the location is the log of the mean

    def learn_scaling(self, x: Tensor) -> None:
        self.scaling.learn_log_mean(x)

    def log_mean(self, output: Tensor) -> Tensor:
        return self.scaling.location + log_link(output, RATE)


class Poisson(Counts):
    """Model counts: p(x | z) = prod_i Poisson(x_i | m_i exp(decoder(z)_i)), m the data's means.

    Above exp(15) m_i, a rate grows only linearly in the decoder's output.

    >>> Poisson(2, (4,))(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        (log_rate,) = self.split(parameters)
        return distributions.Poisson(self.log_mean(log_rate))


class NegativeBinomial(Counts):
    """Model overdispersed counts: p(x | z) = prod_i NegativeBinomial(x_i | m_i exp(decoder(z)_i), r_i).

    m are the data's means. The first parameter is the mean; the variance is mean + mean^2 / r_i. Each r_i
    is learned and does not depend on z. Above exp(15) m_i, a mean grows only linearly in the decoder's
    output.

    Source: R. Lopez, J. Regier, M. B. Cole, M. I. Jordan, N. Yosef, "Deep generative modeling for
    single-cell transcriptomics", 2018, https://doi.org/10.1038/s41592-018-0229-2.

    >>> NegativeBinomial(2, (4,))(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    def __init__(self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.log_r = nn.Parameter(torch.zeros(tuple(data_shape)))

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        (log_mean,) = self.split(parameters)
        return self.from_log_mean(self.log_mean(log_mean))

    def from_log_mean(self, log_mean: Tensor) -> distributions.NegativeBinomial:
        log_r = log_link(self.log_r, RATE)
        return distributions.NegativeBinomial(log_r.exp(), logits=log_mean - log_r)


class ZeroInflatedPoisson(Counts):
    """Model counts with extra zeros: p(x | z) = prod_i g_i [x_i = 0] + (1 - g_i) Poisson(x_i | rate_i).

    The decoder gives log rate_i, in units of the data's means, and the logit of g_i.

    Source: D. Lambert, "Zero-inflated Poisson regression, with an application to defects in manufacturing",
    1992, https://doi.org/10.2307/1269547.

    >>> ZeroInflatedPoisson(2, (4,))(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    parameters_per_value = 2

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        log_rate, gate = self.split(parameters)
        poisson = distributions.Poisson(self.log_mean(log_rate))
        return distributions.ZeroInflated(poisson, gate)


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """Model overdispersed counts with extra zeros.

        p(x | z) = prod_i g_i [x_i = 0] + (1 - g_i) NegativeBinomial(x_i | mean_i, r_i).

    The decoder gives log mean_i, in units of the data's means, and the logit of g_i.

    Source: R. Lopez, J. Regier, M. B. Cole, M. I. Jordan, N. Yosef, "Deep generative modeling for
    single-cell transcriptomics", 2018, https://doi.org/10.1038/s41592-018-0229-2.

    >>> ZeroInflatedNegativeBinomial(2, (4,))(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    parameters_per_value = 2

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        log_mean, gate = self.split(parameters)
        return distributions.ZeroInflated(self.from_log_mean(self.log_mean(log_mean)), gate)
