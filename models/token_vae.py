"""A VAE of sentences."""

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor

from pyro_vae.guides import AmortizedGuide, MeanFieldNormal
from pyro_vae.likelihoods.sentences import Sentences
from pyro_vae.models.vae import VAE
from pyro_vae.networks import GRU, EmbeddedTokens, Network, NetworkFactory, Shape
from pyro_vae.priors import Prior, StandardNormal


class TokenVAE(VAE):
    """z ~ p(z), x_t ~ p(x_t | x_1, ..., x_(t-1), z), names by number; guide q(z | x).

    A :class:`~pyro_vae.models.VAE` whose likelihood is :class:`~pyro_vae.likelihoods.sentences.Sentences`
    and whose encoder reads names. A decoder that sees all names before can do without z;
    ``word_dropout``, and a KL term that is let in late (``fit``'s ``kl_warmup``), speak against it.

    Source: S. R. Bowman, L. Vilnis, O. Vinyals, A. M. Dai, R. Jozefowicz, S. Bengio, "Generating sentences
    from a continuous space", 2015, https://arxiv.org/abs/1511.06349.

    Args:
        data_shape: shape X of one datum; its values, 0 to num_tokens - 1, are read in their order.
        latent_dim: size Z of the latent vector.
        num_tokens: how many names there are.
        end: the name that ends a sentence, and fills up the data beyond; None where there is none.
        word_dropout: how often a name is not shown to the steps after it, in training alone.
        hidden_dim: size of the state of the GRUs that read and write.
        prior: p(z), made from the latent dimension and the guide.
        guide: q(z | x), made from the data's shape, the latent dimension and the encoder.

    :raises InputError: ``end`` is none of the names, or parts that do not fit.

    >>> import torch
    >>> vae = TokenVAE((4,), 2, num_tokens=3, end=0)
    >>> vae.likelihood(torch.zeros(5, 2)).log_prob(torch.zeros(4)).shape  # of nothing at all
    torch.Size([5])
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int = 16,
        *,
        num_tokens: int = 2,
        end: int | None = None,
        word_dropout: float = 0.0,
        hidden_dim: int = 64,
        prior: Callable[[int, AmortizedGuide], Prior] = StandardNormal,
        guide: Callable[[Shape, int, NetworkFactory], AmortizedGuide] = MeanFieldNormal,
    ) -> None:
        likelihood = partial(
            Sentences,
            num_tokens=num_tokens,
            end=end,
            hidden_dim=hidden_dim,
            word_dropout=word_dropout,
        )
        encoder = partial(_Reader, num_tokens=num_tokens, hidden_dim=hidden_dim)
        super().__init__(
            data_shape,
            latent_dim,
            prior=prior,
            likelihood=likelihood,
            guide=guide,
            encoder=encoder,
        )


class _Reader(Network):
    """All values of a datum, in their order, as one sequence of names."""

    def __init__(self, in_shape: Shape, out_shape: Shape, num_tokens: int, hidden_dim: int) -> None:
        super().__init__(in_shape, out_shape)
        network = partial(GRU, hidden_dim=hidden_dim)
        steps = (math.prod(self.in_shape),)
        self.network = EmbeddedTokens(steps, out_shape, network, num_tokens)

    def transform(self, x: Tensor) -> Tensor:
        return self.network(x.flatten(1))
