"""The vector-quantised VAE, a program whose latents are codes."""

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from pyro_vae import distributions
from pyro_vae.compatibility import check_reads_missing
from pyro_vae.errors import at_least, at_least_1
from pyro_vae.likelihoods import Bernoulli, Likelihood, LikelihoodFactory
from pyro_vae.networks import MLP, Network, NetworkFactory, Shape
from pyro_vae.networks.causal import CausalGRU


class VQVAE(nn.Module):
    """Model data by codes: c ~ prod_s p(c_s | c_1, ..., c_(s-1)), x ~ p(x | w_(c_1), ..., w_(c_S)).

    w_1, ..., w_K is the codebook. The guide prefers near codes, the more so the smaller the learned v,

        q(c | x) = prod_s Categorical(c_s | softmax(-|e_s(x) - w_k|^2 / (2 v))).

    As v goes to 0 it becomes the paper's quantisation. Otherwise it is a distribution with an ELBO, whose
    entropy and distances replace the paper's codebook and commitment losses, and importance sampling can
    estimate the evidence. The prior over codes is trained together with the rest. A late KL term (``fit``'s
    ``kl_warmup``) keeps more of the codes in use.

    By default the gradient through c is the straight-through one: draws are one-hot in the forward pass and
    probabilities in the backward pass. It has little variance but is *biased*: it is the gradient of no
    function. ``straight_through=False`` takes the score function's gradient, which is unbiased and far
    noisier. ELBO and evidence are right in both cases.

    Args:
        data_shape: shape X of one datum.
        num_positions: S, the number of codes of a datum.
        num_codes: K, the length of the codebook.
        code_dim: E, the size of each w.
        likelihood: p(x | z), made from S * E, the data's shape and the decoder.
        encoder: the network of e, made from an input and an output shape, (S, E).
        decoder: the likelihood's network, made from an input and an output shape.
        straight_through: whether the gradient is the straight-through one.

    Raises:
        InputError: a size is too small, a part does not fit, or the encoder cannot read missing values.

    Source: A. van den Oord, O. Vinyals, K. Kavukcuoglu, "Neural discrete representation learning", 2017,
    https://arxiv.org/abs/1711.00937; the guide: Y. Takida et al., "SQ-VAE: variational Bayes on discrete
    representation with self-annealed stochastic quantization", 2022, https://arxiv.org/abs/2205.07547; the
    gradient: Y. Bengio, N. Léonard, A. Courville, "Estimating or propagating gradients through stochastic
    neurons for conditional computation", 2013, https://arxiv.org/abs/1308.3432.

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
        likelihood: LikelihoodFactory = Bernoulli,
        encoder: NetworkFactory = MLP,
        decoder: NetworkFactory = MLP,
        straight_through: bool = True,
    ) -> None:
        super().__init__()
        at_least_1("num_positions", num_positions)
        at_least(2, "num_codes", num_codes)
        at_least_1("code_dim", code_dim)
        self.likelihood = Likelihood.make(likelihood, num_positions * code_dim, data_shape, decoder)
        encoder = self.likelihood.wrap_encoder(encoder)
        self.encoder = Network.make(encoder, data_shape, (num_positions, code_dim))
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

    def prior(self) -> distributions.AutoregressiveCategorical:
        """Return p(c), ``| S, K``."""
        return distributions.AutoregressiveCategorical(self.network, self.zero, torch.Size())

    def quantise(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(c | x), ``batch | S, K``."""
        # on the scale of the initial codebook; otherwise one code is the nearest one to all data
        encoded = rms_norm(self.encoder(x), self.codebook.shape[1:])  # (B, S, E)
        difference = encoded.unsqueeze(-2) - self.codebook  # (B, S, K, E)
        logits = -difference.square().sum(-1) / (2 * self.log_variance.exp())
        if self.straight_through:
            return dist.OneHotCategoricalStraightThrough(logits=logits).to_event(1)
        return dist.OneHotCategorical(logits=logits).to_event(1)
