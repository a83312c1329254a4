"""The model of a GAN: a latent vector and a generator, without a guide."""

from functools import partial

import pyro
from torch import Tensor, nn

from pyro_vae.errors import at_least_1
from pyro_vae.likelihoods import FixedScaleNormal
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.priors import Prior, PriorFactory, StandardNormal


class GAN(nn.Module):
    """Model data by what a network makes of noise: z ~ p(z), x ~ Normal(generator(z), scale); no guide.

    The story is that of a VAE; what trains it is another objective
    (:class:`pyro_vae.inference.objectives.Adversarial`), which needs no guide. The width of the Normal
    gives it a density: ``log_evidence(gan, x, method=Annealed(start="prior"))`` weighs it, and
    :attr:`scale` may be changed for that after the fit. With the ELBO instead, ``fit`` makes a guide.

    Args:
        data_shape: shape X of one datum.
        latent_dim: size Z of the latent vector.
        prior: p(z), made from the latent dimension and no guide.
        generator: the network, made from an input and an output shape; its output is in units of the data.
        scale: the standard deviation of every value, in the data's own units.

    Raises:
        InputError: a part does not fit these shapes, or ``scale`` is not positive.

    Source: I. Goodfellow et al., "Generative adversarial nets", 2014, https://arxiv.org/abs/1406.2661;
    with a Normal at the output: Y. Wu, Y. Burda, R. Salakhutdinov, R. Grosse, "On the quantitative analysis
    of decoder-based generative models", 2017, https://arxiv.org/abs/1611.04273.

    >>> import torch
    >>> from pyro_vae import log_evidence
    >>> from pyro_vae.inference import Annealed
    >>> gan = GAN((1, 4, 4), 2, scale=0.3)
    >>> method = Annealed(num_temperatures=20, start="prior")
    >>> log_evidence(gan, torch.rand(3, 1, 4, 4), method=method, seed=0).log_evidence.shape
    torch.Size([3])
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int = 16,
        *,
        prior: PriorFactory = StandardNormal,
        generator: NetworkFactory = MLP,
        scale: float = 0.1,
    ) -> None:
        super().__init__()
        at_least_1("latent_dim", latent_dim)
        make = partial(FixedScaleNormal, scale=scale)
        self.likelihood = FixedScaleNormal.make(make, latent_dim, data_shape, generator)
        self.prior = Prior.make(prior, latent_dim, None)

    @property
    def scale(self) -> Tensor:
        """The standard deviation of every value, ``|``; a buffer, to be filled in place."""
        return self.likelihood.scale

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())  # (B | Z)
            pyro.sample("x", self.likelihood(z), obs=x)  # (B | X)
