"""The VAE of data that come with a condition: a class, or any tensor."""

from typing import ClassVar

import pyro
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_vae.compatibility import check_reads_missing, check_same_latent
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.guides import AmortizedGuide, GuideFactory, MeanFieldNormal
from pyro_vae.likelihoods import Bernoulli, Likelihood, LikelihoodFactory
from pyro_vae.networks import MLP, Network, NetworkFactory, OneHot, Shape, join
from pyro_vae.priors import Prior, PriorFactory, StandardNormal


class ConditionalVAE(nn.Module):
    """Model data x given y: z ~ p(z), x ~ p(x | z, y); guide q(z | x, y). The evidence is log p(x | y).

    z does not depend on y, so you can keep z and change y. This loses no generality: any p(z | y) moves
    noise, and the decoder, which reads y, can do that as well.

    Args:
        data_shape: shape X of one datum.
        latent_dim: size Z of the latent vector.
        num_classes: C, where y is a label 0, ..., C - 1.
        condition: a network that maps y, of any shape, to a vector (C,); it replaces ``num_classes``.
        prior: p(z), made from the latent dimension and the guide.
        likelihood: p(x | z, y), made from Z + C, the data's shape and the decoder.
        guide: q(z | x, y), made from the shape of the features of x and y, Z and the head.
        encoder: the network that reads x, made from an input and an output shape.
        decoder: the likelihood's network, made from an input and an output shape.
        head: the guide's network on the features of x and y, made from an input and an output shape.
        feature_dim: number of features that the encoder gives.

    Raises:
        InputError: not exactly one of ``num_classes`` and ``condition`` is given, a part does not fit these
            shapes, prior and guide have different latents, or the encoder cannot read missing values. When
            it runs: y is not one label, or one tensor, for each datum.

    Source: K. Sohn, H. Lee, X. Yan, "Learning structured output representation using deep conditional
    generative models", 2015, https://papers.nips.cc/paper/5775; D. P. Kingma, D. J. Rezende, S. Mohamed,
    M. Welling, "Semi-supervised learning with deep generative models", 2014,
    https://arxiv.org/abs/1406.5298.

    >>> import torch
    >>> cvae = ConditionalVAE((1, 8, 8), num_classes=10)
    >>> cvae.decode(torch.zeros(3, 16), torch.tensor([0, 5, 9])).event_shape
    torch.Size([1, 8, 8])
    >>> on_a_vector = ConditionalVAE((1, 8, 8), condition=MLP((3,), (8,)))
    """

    labels_may_be_unseen: ClassVar[bool] = False

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int = 16,
        *,
        num_classes: int | None = None,
        condition: Network | None = None,
        prior: PriorFactory = StandardNormal,
        likelihood: LikelihoodFactory = Bernoulli,
        guide: GuideFactory = MeanFieldNormal,
        encoder: NetworkFactory = MLP,
        decoder: NetworkFactory = MLP,
        head: NetworkFactory = MLP,
        feature_dim: int = 128,
    ) -> None:
        super().__init__()
        at_least_1("latent_dim", latent_dim)
        at_least_1("feature_dim", feature_dim)
        self.condition = _condition(num_classes, condition)
        (size,) = self.condition.out_shape
        self.likelihood = Likelihood.make(likelihood, latent_dim + size, data_shape, decoder)
        encoder = self.likelihood.wrap_encoder(encoder)
        self.features = Network.make(encoder, data_shape, (feature_dim,))
        self.recognition = AmortizedGuide.make(guide, (feature_dim + size,), latent_dim, head)
        self.prior = Prior.make(prior, latent_dim, self.recognition)
        check_same_latent(self.prior, self.recognition)
        check_reads_missing(self.likelihood, self.features)

    def model(self, x: Tensor, y: Tensor) -> None:
        condition = self.encode_condition(x, y)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())  # (B | Z)
            pyro.sample("x", self.likelihood(join(z, condition)), obs=x)  # (B | X)

    def guide(self, x: Tensor, y: Tensor) -> None:
        features = join(self.features(x), self.encode_condition(x, y))
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.recognition(features))  # (B | Z)

    def decode(self, z: Tensor, y: Tensor) -> TorchDistribution:
        """Return p(x | z, y), ``batch | X``; the same z under another y has the same style."""
        return self.likelihood(join(z, self.condition(y)))

    def encode_condition(self, x: Tensor, y: Tensor) -> Tensor:
        """Return y as a vector for each datum, (B, C).

        Raises:
            InputError: y is not one label, or one tensor, for each datum.
        """
        shape = (len(x), *self.condition.in_shape)
        if y.shape != shape:
            raise InputError(
                f"y has shape {tuple(y.shape)} for {len(x)} data",
                subject="y",
                expected=f"shape {shape}",
            )
        return self.condition(y)


def _condition(num_classes: int | None, condition: Network | None) -> Network:
    """Return the network that reads y."""
    if (condition is None) == (num_classes is None):
        raise InputError(
            f"num_classes and condition are {'both' if condition else 'not'} given",
            subject="condition",
            expected="num_classes, for labels, or condition, the network that reads y",
            remedy="give one of the two",
        )
    if num_classes is not None:
        return OneHot((), (at_least_1("num_classes", num_classes),))
    if not isinstance(condition, Network) or len(condition.out_shape) != 1:
        shape = getattr(condition, "out_shape", None)
        raise InputError(
            f"condition gives outputs of shape {shape}" if shape else f"condition is {condition!r}",
            subject="condition",
            expected="a network that gives one vector, such as MLP((3,), (8,))",
        )
    return condition
