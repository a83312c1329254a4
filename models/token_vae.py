"""A VAE of sentences."""

import math
from functools import partial

from torch import Tensor

from pyro_vae.guides import GuideFactory, MeanFieldNormal
from pyro_vae.likelihoods import Sentences
from pyro_vae.models.vae import VAE
from pyro_vae.networks import GRU, EmbeddedTokens, Network, Shape
from pyro_vae.priors import PriorFactory, StandardNormal


class TokenVAE(VAE):
    """Model sentences of token ids: z ~ p(z), x_t ~ p(x_t | x_1, ..., x_(t-1), z); guide q(z | x).

    The likelihood is :class:`~pyro_vae.likelihoods.Sentences`, and the encoder reads token ids. A decoder
    that reads all earlier tokens can ignore z; ``word_dropout`` and a late KL term (``fit``'s
    ``kl_warmup``) prevent that.

    Args:
        data_shape: shape X of one datum; its values, 0 to num_tokens - 1, are read in their order.
        latent_dim: size Z of the latent vector.
        num_tokens: number of tokens.
        end: the id that ends a sentence and fills the rest; None: every sentence fills X.
        word_dropout: share of tokens that later steps do not see, in training only.
        hidden_dim: size of the state of the GRUs in encoder and likelihood.
        prior: p(z), made from the latent dimension and the guide.
        guide: q(z | x), made from the data's shape, the latent dimension and the encoder.

    Raises:
        InputError: ``end`` is not a token id, a size or a share is out of range, or a part does not fit.

    Source: S. R. Bowman, L. Vilnis, O. Vinyals, A. M. Dai, R. Jozefowicz, S. Bengio, "Generating sentences
    from a continuous space", 2015, https://arxiv.org/abs/1511.06349.

    >>> import torch
    >>> vae = TokenVAE((4,), 2, num_tokens=3, end=0)
    >>> vae.likelihood(torch.zeros(5, 2)).log_prob(torch.zeros(4)).shape  # an empty sentence
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
        prior: PriorFactory = StandardNormal,
        guide: GuideFactory = MeanFieldNormal,
    ) -> None:
        likelihood = partial(
            Sentences,
            num_tokens=num_tokens,
            end=end,
            hidden_dim=hidden_dim,
            word_dropout=word_dropout,
        )
        super().__init__(
            data_shape,
            latent_dim,
            prior=prior,
            likelihood=likelihood,
            guide=guide,
            encoder=partial(_TokenEncoder, num_tokens=num_tokens, hidden_dim=hidden_dim),
        )


class _TokenEncoder(Network):
    """Read all values of a datum, in their order, as one sequence of token ids."""

    def __init__(self, in_shape: Shape, out_shape: Shape, num_tokens: int, hidden_dim: int) -> None:
        super().__init__(in_shape, out_shape)
        network = partial(GRU, hidden_dim=hidden_dim)
        steps = (math.prod(self.in_shape),)
        self.network = EmbeddedTokens(steps, out_shape, network, num_tokens)

    def transform(self, x: Tensor) -> Tensor:
        return self.network(x.flatten(1))
