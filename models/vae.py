"""The variational autoencoder, composed of a prior, a likelihood and an amortised guide."""

import pyro
from torch import Tensor, nn

from pyro_vae.compatibility import check_reads_missing, check_same_latent
from pyro_vae.errors import at_least_1
from pyro_vae.guides import AmortizedGuide, GuideFactory, MeanFieldNormal
from pyro_vae.likelihoods import Bernoulli, Likelihood, LikelihoodFactory
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.priors import Prior, PriorFactory, StandardNormal


class VAE(nn.Module):
    """Model data by a latent vector: z ~ p(z), x ~ p(x | z); guide q(z | x) = prod_n q(z_n | x_n).

    A variant has another part: anything that can be called like the default part's class.
    ``functools.partial`` gives a part its options.

    Args:
        data_shape: shape X of one datum: (channels, height, width), (columns,) or any other.
        latent_dim: size Z of the latent vector.
        prior: p(z), made from the latent dimension and the guide.
        likelihood: p(x | z), made from the latent dimension, the data's shape and the decoder.
        guide: q(z | x), made from the data's shape, the latent dimension and the encoder.
        encoder: the guide's network, made from an input and an output shape.
        decoder: the likelihood's network, made from an input and an output shape.

    Raises:
        InputError: a part does not fit these shapes, prior and guide have different latents, or the encoder
            cannot read missing values.

    Source: D. P. Kingma, M. Welling, "Auto-encoding variational Bayes", 2013,
    https://arxiv.org/abs/1312.6114; D. J. Rezende, S. Mohamed, D. Wierstra, "Stochastic backpropagation and
    approximate inference in deep generative models", 2014, https://arxiv.org/abs/1401.4082.

    >>> import torch
    >>> from functools import partial
    >>> from pyro_vae.networks import ConvDecoder, ConvEncoder
    >>> from pyro_vae.likelihoods import FixedScaleNormal
    >>> vae = VAE((1, 28, 28), 20, encoder=ConvEncoder, decoder=ConvDecoder,
    ...           likelihood=partial(FixedScaleNormal, scale=0.1))
    >>> vae.likelihood(torch.zeros(3, 20)).event_shape
    torch.Size([1, 28, 28])
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int = 16,
        *,
        prior: PriorFactory = StandardNormal,
        likelihood: LikelihoodFactory = Bernoulli,
        guide: GuideFactory = MeanFieldNormal,
        encoder: NetworkFactory = MLP,
        decoder: NetworkFactory = MLP,
    ) -> None:
        super().__init__()
        at_least_1("latent_dim", latent_dim)
        self.likelihood = Likelihood.make(likelihood, latent_dim, data_shape, decoder)
        encoder = self.likelihood.wrap_encoder(encoder)
        self.recognition = AmortizedGuide.make(guide, data_shape, latent_dim, encoder)
        self.prior = Prior.make(prior, latent_dim, self.recognition)
        check_same_latent(self.prior, self.recognition)
        check_reads_missing(self.likelihood, self.recognition.encoder)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())  # (B | Z)
            pyro.sample("x", self.likelihood(z), obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.recognition(x))  # (B | Z)
