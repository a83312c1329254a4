"""The deep Markov model: a state space model whose transition, emission and guide are networks."""

import math

import pyro
import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.guides.normal import diagonal_normal
from pyro_vae.likelihoods import Bernoulli, Likelihood, LikelihoodFactory, Missing
from pyro_vae.networks import MLP, Flat, Network, NetworkFactory, Shape
from pyro_vae.priors import LearnedNormal
from pyro_vae.sequences.steps import check_sequence_shape, step_mask
from pyro_vae.sequences.transitions import GatedTransition, Transition, TransitionFactory


class DeepMarkov(nn.Module):
    """Model sequences: z_1 ~ Normal(m, diag(s^2)), z_t ~ p(z_t | z_(t-1)), x_t ~ p(x_t | z_t), by networks.

    The guide factorises as the posterior does, q(z | x) = prod_t q(z_t | z_(t-1), x_t, x_(t+1), ...). A GRU
    reads the data backwards, and each Normal depends on its state and z_(t-1).

    Sequences of different lengths are a tuple (x, lengths). x is padded with any finite numbers in the
    likelihood's support; the padding counts 0 nats.

    Args:
        data_shape: (T, D), or (T,) for one value a step; for an image (1, T, columns) a step is a row.
        latent_dim: size Z of the state.
        transition: p(z_t | z_(t-1)), made from Z (:mod:`pyro_vae.sequences.transitions`).
        likelihood: p(x_t | z_t), made from Z, the shape of a step and the decoder.
        decoder: the likelihood's network, made from an input and an output shape.
        hidden_dim: size of the GRU's state.

    Raises:
        InputError: a part does not fit these shapes, or values may be missing, which the guide cannot read.
            When it runs: the data have another shape, or ``lengths`` is not one length for each sequence.

    Source: R. G. Krishnan, U. Shalit, D. Sontag, "Structured inference networks for nonlinear state space
    models", 2016, https://arxiv.org/abs/1609.09869.

    >>> model = DeepMarkov((7, 3), 2)
    >>> x, lengths = torch.zeros(2, 7, 3), torch.tensor([7, 4])
    >>> pyro.poutine.trace(model.guide).get_trace(x, lengths).nodes["z_6"]["value"].shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int = 8,
        *,
        transition: TransitionFactory = GatedTransition,
        likelihood: LikelihoodFactory = Bernoulli,
        decoder: NetworkFactory = MLP,
        hidden_dim: int = 64,
    ) -> None:
        super().__init__()
        self.data_shape = check_sequence_shape("DeepMarkov", data_shape)
        at_least_1("hidden_dim", hidden_dim)
        self.steps = self.data_shape[-2:][0]  # T
        self.step_shape = self.data_shape[-1:] if len(self.data_shape) > 1 else ()
        self.prior = LearnedNormal(latent_dim)
        self.transition = Transition.make(transition, latent_dim)
        self.likelihood = Likelihood.make(likelihood, latent_dim, self.step_shape, decoder)
        if isinstance(self.likelihood, Missing):
            raise InputError(
                "DeepMarkov's guide cannot read missing values, which Missing allows",
                subject="likelihood",
                remedy="fill the values in and pass the likelihood without Missing",
            )
        size = math.prod(self.step_shape)
        encoder = self.likelihood.wrap_encoder(Flat)
        self.inputs = Network.make(encoder, self.step_shape, (size,))
        self.reader = nn.GRUCell(size, hidden_dim)
        self.combine = nn.Linear(latent_dim, hidden_dim)
        self.proposal = nn.Linear(hidden_dim, 2 * latent_dim)
        self.before = nn.Parameter(torch.zeros(latent_dim))  # z_0 in the guide

    def model(self, x: Tensor, lengths: Tensor | None = None) -> None:
        exists = step_mask(x, self.data_shape, lengths)  # (T, B)
        p, states = self.prior(), []
        with pyro.plate("sequences", len(x)):
            for t in pyro.markov(range(self.steps)):
                with pyro.poutine.mask(mask=exists[t]):
                    z = pyro.sample(f"z_{t}", p)  # (B | Z)
                p = self.transition(z).to_event(1)
                states.append(z)
            p = self.likelihood(self._like_data(torch.stack(states, -2)))  # (B, [1,] T | D)
            if lengths is not None:
                p = p.mask(self._like_data(exists.T.unsqueeze(-1)).squeeze(-1))
            rest = len(self.data_shape) - len(self.step_shape)
            pyro.sample("x", p.to_event(rest), obs=x)  # (B | T, D)

    def guide(self, x: Tensor, lengths: Tensor | None = None) -> None:
        exists = step_mask(x, self.data_shape, lengths)  # (T, B)
        z: Tensor = self.before
        with pyro.plate("sequences", len(x)):
            for t, state in enumerate(self.read_backwards(x, exists)):
                hidden = (self.combine(z).tanh() + state) / 2  # (B, hidden)
                q = diagonal_normal(*self.proposal(hidden).chunk(2, -1))
                with pyro.poutine.mask(mask=exists[t]):
                    z = pyro.sample(f"z_{t}", q)  # (B | Z)

    def read_backwards(self, x: Tensor, exists: Tensor) -> list[Tensor]:
        """Return the GRU's state after x_T, ..., x_t, for each t, (B, hidden)."""
        steps = self.inputs(x.reshape(len(x), self.steps, *self.step_shape))
        state, states = x.new_zeros(len(x), self.reader.hidden_size), []
        for t in reversed(range(self.steps)):
            state = torch.where(exists[t, ..., None], self.reader(steps[:, t], state), state)
            states.append(state)
        return states[::-1]

    def _like_data(self, steps: Tensor) -> Tensor:
        """Return ``B, T | Z`` with the dimensions of the data: for an image, ``B, 1, T | Z``."""
        return steps.unsqueeze(-3) if len(self.data_shape) == 3 else steps
