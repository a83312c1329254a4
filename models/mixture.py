"""The VAE whose latents fall into clusters."""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.compatibility import check_reads_missing
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.guides import AmortizedGuide, GuideFactory, MeanFieldNormal
from pyro_vae.likelihoods import Bernoulli, Likelihood, LikelihoodFactory
from pyro_vae.networks import MLP, NetworkFactory, Shape


class MixtureVAE(nn.Module):
    """Model clusters: k ~ Categorical(w), z ~ Normal(loc_k, diag(scale_k^2)), x ~ p(x | z); guide q(z | x).

    ``fit`` and the evidence sum the component k out exactly. Given z, x tells nothing more about k, so the
    guide needs no factor for it: p(k | z) is Bayes' rule (:meth:`responsibilities`), and its mean over
    q(z | x) gives a datum's cluster (:meth:`clusters`).

    Args:
        data_shape: shape X of one datum.
        latent_dim: size Z of the latent vector.
        num_components: K.
        likelihood: p(x | z), made from the latent dimension, the data's shape and the decoder.
        guide: q(z | x), made from the data's shape, the latent dimension and the encoder.
        encoder: the guide's network, made from an input and an output shape.
        decoder: the likelihood's network, made from an input and an output shape.

    Raises:
        InputError: a part does not fit these shapes, the guide does not cover R^Z, or the encoder cannot
            read missing values.

    Source: Z. Jiang, Y. Zheng, H. Tan, B. Tang, H. Zhou, "Variational deep embedding", 2016,
    https://arxiv.org/abs/1611.05148; N. Dilokthanakul et al., "Deep unsupervised clustering with Gaussian
    mixture variational autoencoders", 2016, https://arxiv.org/abs/1611.02648.

    >>> vae = MixtureVAE((1, 8, 8), 4, num_components=3)
    >>> vae.clusters(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int = 10,
        num_components: int = 10,
        *,
        likelihood: LikelihoodFactory = Bernoulli,
        guide: GuideFactory = MeanFieldNormal,
        encoder: NetworkFactory = MLP,
        decoder: NetworkFactory = MLP,
    ) -> None:
        super().__init__()
        at_least_1("latent_dim", latent_dim)
        at_least_1("num_components", num_components)
        self.likelihood = Likelihood.make(likelihood, latent_dim, data_shape, decoder)
        encoder = self.likelihood.wrap_encoder(encoder)
        self.recognition = AmortizedGuide.make(guide, data_shape, latent_dim, encoder)
        if self.recognition.support != MeanFieldNormal.support:
            name = type(self.recognition).__name__
            raise InputError(
                f"{name} puts z on {self.recognition.support}, but the components are Gaussian",
                subject=name,
                expected="a guide over R^Z",
                remedy="take another one, such as MeanFieldNormal",
            )
        check_reads_missing(self.likelihood, self.recognition.encoder)
        self.logits = nn.Parameter(torch.zeros(num_components))
        # at random, because components that start alike stay alike
        self.loc = nn.Parameter(torch.randn(num_components, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(num_components, latent_dim))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            p = dist.Categorical(logits=self.logits)
            k = pyro.sample("k", p, infer={"enumerate": "parallel"})  # (B |)
            z = pyro.sample("z", self.component(k))  # (B | Z)
            pyro.sample("x", self.likelihood(z), obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.recognition(x))  # (B | Z)

    def component(self, k: Tensor) -> dist.TorchDistribution:
        """Return p(z | k), ``batch | Z``."""
        return dist.Normal(self.loc[k], self.log_scale[k].exp()).to_event(1)

    def responsibilities(self, z: Tensor) -> Tensor:
        """Return p(k | z) of each component, exactly: ``batch | K`` from z, ``batch | Z``."""
        every = torch.arange(len(self.logits), device=z.device)
        log_joint = self.logits + self.component(every).log_prob(z.unsqueeze(-2))
        return log_joint.softmax(-1)

    @torch.no_grad()
    def clusters(self, x: Tensor, num_particles: int = 100) -> Tensor:
        """Estimate q(k | x) = E_q(z | x) p(k | z) from draws of the guide.

        Args:
            x: data, ``B | X``.
            num_particles: number of draws for each datum.

        Returns:
            The probability of each component, ``B | K``.

        Raises:
            InputError: ``num_particles`` is less than 1.
        """
        z = self.recognition(x).sample((at_least_1("num_particles", num_particles),))
        return self.responsibilities(z).mean(0)
