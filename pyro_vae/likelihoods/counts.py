"""Likelihoods of whole numbers: counts, and names by number."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae import distributions
from pyro_vae.errors import at_least
from pyro_vae.likelihoods.likelihood import Likelihood
from pyro_vae.links import RATE, log_link
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.units import Units


class Counts(Likelihood):
    """Of counts whose mean a first fit learns from its rows: where the decoder says 0, it is that."""

    in_logs = True

    def __init__(self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.units = Units(data_shape)  # whose location is the log of the mean

    def learn_units(self, x: Tensor) -> None:
        self.units.learn_log_mean(x)

    def log_mean(self, outputs: Tensor) -> Tensor:
        return self.units.location + log_link(outputs, RATE)


class Poisson(Counts):
    """p(x | z) = prod_i Poisson(x_i | m_i exp(decoder(z)_i)), for counts 0, 1, 2, ...

    m are the data's means, 1 until rows have been seen (:class:`pyro_vae.units.Units`).

    Beyond exp(15) m, about 3 million, rates grow in proportion to the decoder's outputs only
    (:func:`pyro_vae.links.log_link`): an output that starts at 60 is no rate of 1e26.

    >>> Poisson(2, (4,))(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        (log_rate,) = self.split(outputs)
        return distributions.Poisson(self.log_mean(log_rate))


class NegativeBinomial(Counts):
    """p(x | z) = prod_i NegativeBinomial(x_i | mean m_i exp(decoder(z)_i), r_i), for overdispersed counts.

    The variance is mean + mean^2 / r_i; each r_i is learned and does not depend on z. m are the data's
    means, 1 until rows have been seen; means beyond exp(15) m_i grow as those of :class:`Poisson`.

    Source: R. Lopez, J. Regier, M. B. Cole, M. I. Jordan, N. Yosef, "Deep generative modeling for
    single-cell transcriptomics", 2018, https://doi.org/10.1038/s41592-018-0229-2.

    >>> NegativeBinomial(2, (4,))(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    def __init__(self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP) -> None:
        super().__init__(latent_dim, data_shape, decoder)
        self.log_r = nn.Parameter(torch.zeros(tuple(data_shape)))

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        (log_mean,) = self.split(outputs)
        return self.of_log_mean(self.log_mean(log_mean))

    def of_log_mean(self, log_mean: Tensor) -> distributions.NegativeBinomial:
        log_r = log_link(self.log_r, RATE)
        return distributions.NegativeBinomial(log_r.exp(), logits=log_mean - log_r)


class ZeroInflatedPoisson(Counts):
    """p(x | z) = prod_i g_i [x_i = 0] + (1 - g_i) Poisson(x_i | rate_i), g and log rate from the decoder.

    Source: D. Lambert, "Zero-inflated Poisson regression, with an application to defects in
    manufacturing", 1992, https://doi.org/10.2307/1269547.

    >>> ZeroInflatedPoisson(2, (4,))(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    numbers_per_value = 2

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        log_rate, gate = self.split(outputs)
        poisson = distributions.Poisson(self.log_mean(log_rate))
        return distributions.ZeroInflated(poisson, gate)


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """p(x | z) = prod_i g_i [x_i = 0] + (1 - g_i) NegativeBinomial(x_i | mean_i, r_i), g from the decoder.

    Source: R. Lopez, J. Regier, M. B. Cole, M. I. Jordan, N. Yosef, "Deep generative modeling for
    single-cell transcriptomics", 2018, https://doi.org/10.1038/s41592-018-0229-2.

    >>> ZeroInflatedNegativeBinomial(2, (4,))(torch.zeros(5, 2)).mean.shape
    torch.Size([5, 4])
    """

    numbers_per_value = 2

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        log_mean, gate = self.split(outputs)
        return distributions.ZeroInflated(self.of_log_mean(self.log_mean(log_mean)), gate)


class Tokens(Likelihood):
    """p(x | z) = prod_i Categorical(x_i | softmax(decoder(z)_i)), for names by number, 0 to num_tokens - 1.

    Args:
        latent_dim: size of z.
        data_shape: shape of x, such as (steps,).
        decoder: makes the network from the two shapes.
        num_tokens: how many names there are.

    :raises InputError: ``num_tokens`` is less than 1.

    >>> Tokens(2, (4,), num_tokens=10)(torch.zeros(5, 2)).sample().shape
    torch.Size([5, 4])
    """

    def __init__(
        self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP, num_tokens: int = 2
    ) -> None:
        self.numbers_per_value = self.num_names = at_least(1, "num_tokens", num_tokens)
        super().__init__(latent_dim, data_shape, decoder)

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        return distributions.Names(logits=outputs.movedim(-1 - self.event_dim, -1))
