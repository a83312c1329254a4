"""Likelihoods of token ids: independent categories, and sentences."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_vae import distributions
from pyro_vae.errors import InputError, at_least, at_least_1
from pyro_vae.likelihoods.likelihood import Likelihood
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.networks.causal import CausalGRU


class Tokens(Likelihood):
    """Model independent token ids 0 to K - 1: p(x | z) = prod_i Categorical(x_i | softmax(decoder(z)_i)).

    Args:
        latent_dim: size of z.
        data_shape: shape of x, such as (steps,).
        decoder: makes the network from an input and an output shape.
        num_tokens: K, the number of tokens or categories.

    Raises:
        InputError: ``num_tokens`` is less than 1.

    >>> Tokens(2, (4,), num_tokens=10)(torch.zeros(5, 2)).sample().shape
    torch.Size([5, 4])
    """

    def __init__(
        self, latent_dim: int, data_shape: Shape, decoder: NetworkFactory = MLP, num_tokens: int = 2
    ) -> None:
        self.parameters_per_value = self.num_categories = at_least_1("num_tokens", num_tokens)
        super().__init__(latent_dim, data_shape, decoder)

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        return distributions.Nominal(logits=self.move_last(parameters))

    def of_column(
        self, parameters: Tensor, place: int, columns: int
    ) -> tuple[dist.TorchDistribution, int]:
        return distributions.Nominal(logits=parameters.unsqueeze(-2)), 0


class Sentences(Likelihood):
    """Model token ids 0 to K - 1 in turn: p(x | z) = prod_t p(x_t | x_1, ..., x_(t-1), z).

    Args:
        latent_dim: size of z.
        data_shape: shape of x; its values are read in their order.
        decoder: not used; a GRU reads the earlier tokens.
        num_tokens: K, the number of tokens.
        end: the id that ends a sentence and fills the rest; None: every sentence fills x.
        hidden_dim: size of the GRU's state.
        word_dropout: share of tokens that later steps do not see, in training only.

    Raises:
        InputError: ``num_tokens`` is less than 2, or ``end`` is not a token id.

    >>> Sentences(2, (4,), num_tokens=3)(torch.zeros(5, 2)).sample().shape
    torch.Size([5, 4])
    """

    is_offered = False
    not_a_part = "its tokens depend on one another"
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
        at_least(2, "num_tokens", num_tokens)
        if end is not None and end not in range(num_tokens):
            raise InputError(
                f"end is {end}",
                subject="end",
                expected=f"a token id from 0 to {num_tokens - 1}, or None",
            )
        self.data_shape, self.event_dim, self.end = tuple(data_shape), len(data_shape), end
        self.network = CausalGRU(num_tokens, latent_dim, hidden_dim, word_dropout)
        zero = torch.zeros(math.prod(data_shape), num_tokens)
        self.register_buffer("zero", zero, persistent=False)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        one_hot = distributions.AutoregressiveCategorical(
            lambda c: self.network(c, z), self.zero, z.shape[:-1]
        )
        sentences = distributions.Sentences(one_hot, self.end)
        if self.event_dim == 1:
            return sentences
        reshape = dist.transforms.ReshapeTransform(self.zero.shape[:1], torch.Size(self.data_shape))
        return _Reshaped(sentences, [reshape])

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        raise InputError(
            "the tokens of Sentences are not independent, so none can be left out",
            subject="Sentences",
            remedy="take Tokens",
        )


class _Reshaped(dist.TransformedDistribution):
    """Give sentences another shape, and keep their support; torch would allow any real number."""

    @constraints.dependent_property(is_discrete=True)
    def support(self) -> constraints.Constraint:
        token_ids = self.base_dist.support.base_constraint
        return constraints.independent(token_ids, len(self.event_shape))
