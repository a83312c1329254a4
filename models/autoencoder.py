"""The autoencoder: a baseline without a proper prior."""

import pyro
import pyro.distributions as dist
from pyro.distributions import constraints
from torch import Tensor, nn

from pyro_vae.compatibility import check_reads_missing
from pyro_vae.distributions import ImproperUniform
from pyro_vae.errors import at_least_1
from pyro_vae.likelihoods import Bernoulli, Likelihood, LikelihoodFactory
from pyro_vae.networks import MLP, Network, NetworkFactory, Shape


class Autoencoder(nn.Module):
    """Reconstruct data from a code: z = encoder(x), x ~ p(x | z), with a flat prior and a point guide.

    A fit maximises log p(x | encoder(x)), minus the reconstruction loss: binary cross-entropy under
    ``Bernoulli``, squared error over twice the variance under ``FixedScaleNormal``. A flat prior has no
    log p(x) that this could bound. A fit therefore reports an objective, and an evidence and samples are
    refused; codes and reconstructions remain. A small code, not a KL term, prevents copying.

    Args:
        data_shape: shape X of one datum.
        latent_dim: size Z of the code.
        likelihood: p(x | z), made from the latent dimension, the data's shape and the decoder.
        encoder: the network of the code, made from an input and an output shape.
        decoder: the likelihood's network, made from an input and an output shape.

    Raises:
        InputError: a part does not fit these shapes, or the encoder cannot read missing values.

    Source: D. E. Rumelhart, G. E. Hinton, R. J. Williams, "Learning internal representations by error
    propagation", 1986; G. E. Hinton, R. Salakhutdinov, "Reducing the dimensionality of data with neural
    networks", 2006, https://doi.org/10.1126/science.1127647.

    >>> import torch
    >>> from pyro_vae import posterior
    >>> from pyro_vae.inference import Guide
    >>> codes = posterior(Autoencoder((1, 8, 8), 3), torch.zeros(5, 1, 8, 8), method=Guide(), num_draws=1)
    >>> codes.means["z"].shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int = 16,
        *,
        likelihood: LikelihoodFactory = Bernoulli,
        encoder: NetworkFactory = MLP,
        decoder: NetworkFactory = MLP,
    ) -> None:
        super().__init__()
        self.latent_dim = at_least_1("latent_dim", latent_dim)
        self.likelihood = Likelihood.make(likelihood, latent_dim, data_shape, decoder)
        encoder = self.likelihood.wrap_encoder(encoder)
        self.encoder = Network.make(encoder, data_shape, (latent_dim,))
        check_reads_missing(self.likelihood, self.encoder)

    def model(self, x: Tensor) -> None:
        flat = ImproperUniform(constraints.real_vector, (), (self.latent_dim,))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", flat)  # (B | Z)
            pyro.sample("x", self.likelihood(z), obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(self.encoder(x), event_dim=1))  # (B | Z)
