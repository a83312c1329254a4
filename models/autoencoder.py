"""The autoencoder, the baseline that is no probabilistic model."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
from pyro.distributions import constraints
from torch import Tensor, nn

from pyro_vae.compatibility import check_reads_missing
from pyro_vae.errors import at_least_1
from pyro_vae.likelihoods import Bernoulli, Likelihood
from pyro_vae.networks import MLP, Network, NetworkFactory, Shape


class Autoencoder(nn.Module):
    """z = encoder(x), x ~ p(x | z): nothing is said of z, whose prior is flat and whose guide is a point.

    What a fit maximises is then log p(x | encoder(x)), minus the loss of reconstruction: binary
    cross-entropy under ``Bernoulli``, squared error, in units of twice the variance, under
    ``FixedScaleNormal``. It bounds no log p(x), which a flat prior does not have: a fit reports it as the
    objective, an evidence is refused, and so are samples. Codes and reconstructions are what there is. A
    narrow code, not a KL term, is what keeps it from copying.

    Source: D. E. Rumelhart, G. E. Hinton, R. J. Williams, "Learning internal representations by error
    propagation", 1986; G. E. Hinton, R. Salakhutdinov, "Reducing the dimensionality of data with neural
    networks", 2006, https://doi.org/10.1126/science.1127647.

    Args:
        data_shape: shape X of one datum.
        latent_dim: size Z of the code.
        likelihood: p(x | z), made from the latent dimension, the data's shape and the decoder.
        encoder: makes the network of the code from an input and an output shape.
        decoder: the likelihood's network, made from an input and an output shape.

    :raises InputError: parts cannot be made of these shapes, or values may be missing that the encoder
        cannot do without.

    >>> import torch
    >>> from pyro_vae import latent_means
    >>> latent_means(Autoencoder((1, 8, 8), 3), torch.zeros(5, 1, 8, 8))["z"].shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int = 16,
        *,
        likelihood: Callable[[int, Shape, NetworkFactory], Likelihood] = Bernoulli,
        encoder: NetworkFactory = MLP,
        decoder: NetworkFactory = MLP,
    ) -> None:
        super().__init__()
        self.latent_dim = at_least_1("latent_dim", latent_dim)
        self.likelihood = Likelihood.make(likelihood, latent_dim, data_shape, decoder)
        self.encoder = Network.make(self.likelihood.reading(encoder), data_shape, (latent_dim,))
        check_reads_missing(self.likelihood, self.encoder)

    def model(self, x: Tensor) -> None:
        flat = dist.ImproperUniform(constraints.real_vector, (), (self.latent_dim,))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", flat)  # (B | Z)
            pyro.sample("x", self.likelihood(z), obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(self.encoder(x), event_dim=1))  # (B | Z)
