"""A likelihood of sequences of names, each of which depends on those before it."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_vae import distributions
from pyro_vae.errors import InputError
from pyro_vae.likelihoods.likelihood import Likelihood
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.networks.causal import CausalGRU


class Sentences(Likelihood):
    """p(x | z) = prod_t p(x_t | x_1, ..., x_(t-1), z), for names by number, 0 to num_tokens - 1.

    Args:
        latent_dim: size of z.
        data_shape: shape of x; its values are read in their order.
        decoder: not used; a GRU reads what came before.
        num_tokens: how many names there are.
        end: the name that ends a sentence, and fills up the data beyond; None where there is none.
        hidden_dim: size of the GRU's state.
        word_dropout: how often a name is not shown to the steps after it, in training alone.

    :raises InputError: ``end`` is none of the names.

    >>> Sentences(2, (4,), num_tokens=3)(torch.zeros(5, 2)).sample().shape
    torch.Size([5, 4])
    """

    no_part = "its names depend on one another"
    zero: Tensor

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        num_tokens: int = 2,
        end: int | None = None,
        hidden_dim: int = 64,
        word_dropout: float = 0.0,
    ) -> None:
        nn.Module.__init__(self)
        if end is not None and end not in range(num_tokens):
            raise InputError(f"end must be one of the names 0 to {num_tokens - 1}, not {end}")
        self.data_shape, self.event_dim, self.end = tuple(data_shape), len(data_shape), end
        self.network = CausalGRU(num_tokens, latent_dim, hidden_dim, word_dropout)
        zero = torch.zeros(math.prod(data_shape), num_tokens)
        self.register_buffer("zero", zero, persistent=False)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        chain = distributions.Chain(lambda c: self.network(c, z), self.zero, z.shape[:-1])
        sentences = distributions.Sentences(chain, self.end)
        if self.event_dim == 1:
            return sentences
        reshape = dist.transforms.ReshapeTransform(self.zero.shape[:1], torch.Size(self.data_shape))
        return _Reshaped(sentences, [reshape])

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        raise InputError("the names of a sentence are not independent: none can be left out")


class _Reshaped(dist.TransformedDistribution):
    """Sentences as data of another shape; torch would take any real number for one of them."""

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> constraints.Constraint:
        names = self.base_dist.support.base_constraint
        return constraints.independent(names, len(self.event_shape))
