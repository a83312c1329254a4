"""The VAE of data that come with something given: a class, or any tensor."""

from collections.abc import Callable
from typing import ClassVar

import pyro
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyro_vae.compatibility import check_reads_missing, check_same_latent
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.guides import AmortizedGuide, MeanFieldNormal
from pyro_vae.likelihoods import Bernoulli, Likelihood
from pyro_vae.networks import MLP, Network, NetworkFactory, OneHot, Shape, join
from pyro_vae.priors import Prior, StandardNormal


class ConditionalVAE(nn.Module):
    """z ~ p(z), x ~ p(x | z, y), y given; guide q(z | x, y). The evidence is log p(x | y).

    z does not depend on y, so that it can be kept while y is changed. That loses nothing: where noise is
    moved to make a p(z | y), the decoder, which sees y, can move it as well.

    Source: K. Sohn, H. Lee, X. Yan, "Learning structured output representation using deep conditional
    generative models", 2015, https://papers.nips.cc/paper/5775; D. P. Kingma, D. J. Rezende, S. Mohamed,
    M. Welling, "Semi-supervised learning with deep generative models", 2014,
    https://arxiv.org/abs/1406.5298.

    Args:
        data_shape: shape X of one datum.
        latent_dim: size Z of the latent vector.
        num_classes: C, where y is a label, 0, ..., C - 1.
        condition: the network that reads y instead, of any shape, and makes a vector of it, (C,).
        prior: p(z), made from the latent dimension and the guide.
        likelihood: p(x | z, y), made from Z + C, the data's shape and the decoder.
        guide: q(z | x, y), made from the shape of what is known of x and y, Z and the head.
        encoder: the network that reads x, made from an input and an output shape.
        decoder: the likelihood's network, likewise.
        head: the guide's network on what encoder and condition have made of x and y, likewise.
        feature_dim: how many numbers the encoder makes of x.

    :raises InputError: neither ``num_classes`` nor ``condition`` is given, or both; a part cannot be made
        of these shapes, prior and guide do not put z in the same place, or values may be missing that the
        encoder cannot do without. When it runs: y that is not one label, or one tensor, for each datum.

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
        prior: Callable[[int, AmortizedGuide], Prior] = StandardNormal,
        likelihood: Callable[[int, Shape, NetworkFactory], Likelihood] = Bernoulli,
        guide: Callable[[Shape, int, NetworkFactory], AmortizedGuide] = MeanFieldNormal,
        encoder: NetworkFactory = MLP,
        decoder: NetworkFactory = MLP,
        head: NetworkFactory = MLP,
        feature_dim: int = 128,
    ) -> None:
        super().__init__()
        if condition is None and num_classes is None:
            raise InputError(
                "say what is given beside x: num_classes, for labels, or condition, the network that "
                "reads it"
            )
        if condition is not None and num_classes is not None:
            raise InputError(
                "y is either a label, by num_classes, or read by condition, the network that makes a "
                "vector of it: leave one of the two out"
            )
        at_least_1("latent_dim", latent_dim)
        at_least_1("feature_dim", feature_dim)
        if num_classes is not None:
            condition = OneHot((), (at_least_1("num_classes", num_classes),))
        if not isinstance(condition, Network):
            raise InputError(
                f"condition must be a network, as MLP((3,), (8,)) is, not {condition!r}"
            )
        if len(condition.out_shape) != 1:
            raise InputError(
                f"condition must make one vector of y, not outputs of shape {condition.out_shape}"
            )
        self.condition = condition
        (size,) = self.condition.out_shape
        self.likelihood = Likelihood.make(likelihood, latent_dim + size, data_shape, decoder)
        reading = self.likelihood.reading(encoder)
        self.features = Network.make(reading, data_shape, (feature_dim,))
        self.recognition = AmortizedGuide.make(guide, (feature_dim + size,), latent_dim, head)
        self.prior = Prior.make(prior, latent_dim, self.recognition)
        check_same_latent(self.prior, self.recognition)
        check_reads_missing(self.likelihood, self.features)

    def model(self, x: Tensor, y: Tensor) -> None:
        given = self.read(x, y)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())  # (B | Z)
            pyro.sample("x", self.likelihood(join(z, given)), obs=x)  # (B | X)

    def guide(self, x: Tensor, y: Tensor) -> None:
        known = join(self.features(x), self.read(x, y))
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.recognition(known))  # (B | Z)

    def decode(self, z: Tensor, y: Tensor) -> TorchDistribution:
        """p(x | z, y), ``batch | X``: the same z under another y is the same style of another class."""
        return self.likelihood(join(z, self.condition(y)))

    def read(self, x: Tensor, y: Tensor) -> Tensor:
        """What is given of each datum, (B, C)."""
        if y.shape != (len(x), *self.condition.in_shape):
            raise InputError(
                f"y must be of shape {(len(x), *self.condition.in_shape)} for {len(x)} data, not "
                f"{tuple(y.shape)}"
            )
        return self.condition(y)
