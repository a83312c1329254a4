"""The vector-quantised VAE, as a program whose latents are codes."""

from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from pyro_vae import distributions
from pyro_vae.compatibility import check_reads_missing
from pyro_vae.errors import at_least, at_least_1
from pyro_vae.likelihoods import Bernoulli, Likelihood
from pyro_vae.networks import MLP, Network, NetworkFactory, Shape
from pyro_vae.networks.causal import CausalGRU


class VQVAE(nn.Module):
    """c ~ prod_s p(c_s | c_1, ..., c_(s-1)), x ~ p(x | w_(c_1), ..., w_(c_S)), w_1, ..., w_K the codebook.

    The guide is q(c | x) = prod_s Categorical(c_s | softmax(-|e_s(x) - w_k|^2 / (2 v))): the nearest code,
    the surer the smaller v, which is learned. Where v goes to 0 it is the quantisation of the paper; above
    that it is a distribution, which has an ELBO, whose entropy and distances do what the paper's codebook
    and commitment losses are for, and which importance sampling can weigh into an evidence. The prior over
    codes is learned together with the rest. A KL term that is let in late (``fit``'s ``kl_warmup``) keeps
    more of the codes in use.

    The gradient through c is, by default, the straight-through one: draws are one-hot going forwards, and
    count as their probabilities going backwards. It is *biased*: not the gradient of the ELBO, nor of any
    other function, but of little variance. ``straight_through=False`` takes the score function's, which
    is unbiased and far noisier. ELBO and evidence are right either way.

    Source: A. van den Oord, O. Vinyals, K. Kavukcuoglu, "Neural discrete representation learning", 2017,
    https://arxiv.org/abs/1711.00937; the guide: Y. Takida et al., "SQ-VAE: variational Bayes on discrete
    representation with self-annealed stochastic quantization", 2022, https://arxiv.org/abs/2205.07547; the
    gradient: Y. Bengio, N. Léonard, A. Courville, "Estimating or propagating gradients through stochastic
    neurons for conditional computation", 2013, https://arxiv.org/abs/1308.3432.

    Args:
        data_shape: shape X of one datum.
        num_positions: S, how many codes a datum has.
        num_codes: K, the length of the codebook.
        code_dim: E, the size of each w.
        likelihood: p(x | z), made from S * E, the data's shape and the decoder.
        encoder: makes the network of e from an input and an output shape, (S, E).
        decoder: the likelihood's network, made from an input and an output shape.
        straight_through: which gradient.

    :raises InputError: no position, fewer than two codes, codes of no size, or values that may be missing
        and that the encoder cannot do without.

    >>> x = torch.zeros(5, 1, 8, 8)
    >>> VQVAE((1, 8, 8)).quantise(x).sample().sum(-1).unique()
    tensor([1.])
    """

    zero: Tensor

    def __init__(
        self,
        data_shape: Shape,
        num_positions: int = 8,
        num_codes: int = 32,
        code_dim: int = 8,
        *,
        likelihood: Callable[[int, Shape, NetworkFactory], Likelihood] = Bernoulli,
        encoder: NetworkFactory = MLP,
        decoder: NetworkFactory = MLP,
        straight_through: bool = True,
    ) -> None:
        super().__init__()
        at_least_1("num_positions", num_positions)
        at_least(2, "num_codes", num_codes)
        at_least_1("code_dim", code_dim)
        self.likelihood = Likelihood.make(likelihood, num_positions * code_dim, data_shape, decoder)
        reading = self.likelihood.reading(encoder)
        self.encoder = Network.make(reading, data_shape, (num_positions, code_dim))
        self.codebook = nn.Parameter(torch.randn(num_codes, code_dim))  # w
        self.log_variance = nn.Parameter(torch.zeros(()))  # log v
        self.network = CausalGRU(num_codes)
        check_reads_missing(self.likelihood, self.encoder)
        self.straight_through = straight_through
        zero = torch.zeros(num_positions, num_codes)
        self.register_buffer("zero", zero, persistent=False)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", self.prior())  # (B | S, K)
            z = (c @ self.codebook).flatten(-2)  # (B, S * E)
            pyro.sample("x", self.likelihood(z), obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("c", self.quantise(x))  # (B | S, K)

    def prior(self) -> distributions.Chain:
        """p(c), ``| S, K``."""
        return distributions.Chain(self.network, self.zero, torch.Size())

    def quantise(self, x: Tensor) -> dist.TorchDistribution:
        """q(c | x), ``batch | S, K``."""
        # of the scale at which the codebook starts, else one code is the nearest of all data
        places = rms_norm(self.encoder(x), self.codebook.shape[1:])  # (B, S, E)
        apart = places.unsqueeze(-2) - self.codebook  # (B, S, K, E)
        logits = -apart.square().sum(-1) / (2 * self.log_variance.exp())
        if self.straight_through:
            return dist.OneHotCategoricalStraightThrough(logits=logits).to_event(1)
        return dist.OneHotCategorical(logits=logits).to_event(1)
