"""The linear-Gaussian state space model, whose evidence the Kalman filter computes exactly."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError, at_least_1, sizes
from pyro_vae.networks import Shape
from pyro_vae.scaling import Scaling
from pyro_vae.sequences.steps import as_data, as_steps, step_mask
from pyro_vae.sequences.transitions import backward_messages, scale_tril


class StateSpace(nn.Module):
    """Model sequences: z_t ~ Normal(A z_(t-1), I), x_t ~ Normal(C z_t + b, diag(r^2)).

    The first state is z_1 ~ Normal(m, diag(s^2)). Unit noise and a diagonal start lose no generality,
    because a change of the state's coordinates gives any other two covariances.

    The guide gives each x_t a Gaussian potential in z_t and joins them by the model's own chain,

        q(z | x) ∝ p(z) prod_t exp(z_t' (H x_t + h) - z_t' J z_t / 2),  J = L L',

    drawn forwards as prod_t q(z_t | z_(t-1), x_t, x_(t+1), ...). Its family holds the exact posterior
    (J = C' diag(r^-2) C and so on), so a fitted ELBO can reach the evidence.

    Sequences of different lengths are a tuple (x, lengths). x is padded with any finite numbers; the
    padding counts 0 nats.

    Args:
        data_shape: (T, D), or (T,) for one value a step; the steps of an image (channels, T, columns) are
            its rows.
        latent_dim: size Z of the state.

    Raises:
        InputError: a size is below 1. When it runs: the data have another shape, or ``lengths`` is not one
            length for each sequence.

    Source: R. E. Kalman, "A new approach to linear filtering and prediction problems", 1960,
    https://doi.org/10.1115/1.3662552; J. Durbin, S. J. Koopman, "Time series analysis by state space
    methods", 2nd edition, 2012, chapter 4; the guide: M. J. Johnson et al., "Composing graphical models
    with neural networks for structured representations and fast inference", 2016,
    https://arxiv.org/abs/1603.06277.

    >>> x, lengths = torch.zeros(2, 7, 3), torch.tensor([7, 4])
    >>> StateSpace((7, 3), 2).log_evidence(x, lengths).shape
    torch.Size([2])
    """

    def __init__(self, data_shape: Shape, latent_dim: int = 2) -> None:
        super().__init__()
        self.data_shape = sizes("data_shape", data_shape)
        if not self.data_shape:
            raise InputError(
                "data_shape is empty",
                subject="data_shape",
                expected="a shape such as (steps, values)",
            )
        self.latent_dim = at_least_1("latent_dim", latent_dim)
        self.steps = self.data_shape[-2:][0]  # T
        size = math.prod(self.data_shape) // self.steps  # D
        self.initial_loc = nn.Parameter(torch.zeros(latent_dim))  # m
        self.initial_log_scale = nn.Parameter(torch.zeros(latent_dim))  # log s
        self.transition = nn.Parameter(0.9 * torch.eye(latent_dim))  # A
        self.loadings = nn.Parameter(torch.randn(size, latent_dim) / math.sqrt(size))  # C
        self.bias = nn.Parameter(torch.zeros(size))  # b
        self.log_scale = nn.Parameter(torch.zeros(size))  # log r
        self.scaling = Scaling(
            (size,)
        )  # of x; all parameters are those of x less its location, over its scale
        self.regression = nn.Linear(size, latent_dim)  # H, h
        self.raw_tril = nn.Parameter(torch.zeros(latent_dim, latent_dim))  # L

    def model(self, x: Tensor, lengths: Tensor | None = None) -> None:
        exists = step_mask(x, self.data_shape, lengths)  # (T, B)
        loc: Tensor = self.initial_loc
        scale, states = self.initial_log_scale.exp(), []
        with pyro.plate("sequences", len(x)):
            for t in pyro.markov(range(self.steps)):
                with pyro.poutine.mask(mask=exists[t]):
                    z = pyro.sample(f"z_{t}", dist.Normal(loc, scale).to_event(1))  # (B | Z)
                loc, scale = z @ self.transition.T, torch.ones_like(scale)
                states.append(z)
            loc = torch.stack(states, -2) @ self.loadings.T + self.bias  # (B, T, D)
            loc = self.scaling.location + self.scaling.scale * loc
            scale = (self.scaling.scale * self.log_scale.exp()).expand_as(loc)
            scale = as_data(scale, self.data_shape)
            p = dist.Normal(as_data(loc, self.data_shape), scale)
            if lengths is not None:
                p = p.mask(as_data(exists.T.unsqueeze(-1).expand_as(loc), self.data_shape))
            pyro.sample("x", p.to_event(len(self.data_shape)), obs=x)  # (B | T, D)

    def guide(self, x: Tensor, lengths: Tensor | None = None) -> None:
        exists = step_mask(x, self.data_shape, lengths)  # (T, B)
        loc: Tensor = self.initial_loc
        precision = (-2 * self.initial_log_scale).exp().diag()
        with pyro.plate("sequences", len(x)):
            for t, (weight, field) in enumerate(self.messages(x, exists)):
                total = precision + weight
                pull = (field + loc @ precision).unsqueeze(-1)
                loc = torch.linalg.solve_ex(total, pull).result.squeeze(-1)
                q = dist.MultivariateNormal(loc, scale_tril=scale_tril(total))
                with pyro.poutine.mask(mask=exists[t]):
                    z = pyro.sample(f"z_{t}", q)  # (B | Z)
                loc, precision = z @ self.transition.T, z.new_ones(self.latent_dim).diag()

    def learn_scaling(self, x: Tensor) -> None:
        self.scaling.learn(as_steps(x, self.data_shape).flatten(0, -2))

    def _scaled_steps(self, x: Tensor) -> Tensor:
        return (as_steps(x, self.data_shape) - self.scaling.location) / self.scaling.scale

    def log_evidence(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return log p(x) in nats, exactly: ``batch |`` from x, ``batch | T, D``."""
        exists, total = step_mask(x, self.data_shape, lengths), x.new_zeros(len(x))
        loc, covariance = self.initial_loc, (2 * self.initial_log_scale).exp().diag()
        noise, identity = (2 * self.log_scale).exp().diag(), x.new_ones(self.latent_dim).diag()
        log_units = self.scaling.scale.log().sum()
        for t, x_t in enumerate(self._scaled_steps(x).unbind(1)):
            cross = covariance @ self.loadings.T  # (Z, D)
            spread = self.loadings @ cross + noise  # of x_t given all before it, (D, D)
            mean = loc @ self.loadings.T + self.bias
            tril = torch.linalg.cholesky_ex(spread).L  # whose check would wait for the device
            predicted = dist.MultivariateNormal(mean, scale_tril=tril)
            total = total + torch.where(exists[t], predicted.log_prob(x_t) - log_units, 0.0)
            gain = torch.linalg.solve_ex(spread, cross.T).result  # (D, Z)
            loc = (loc + (x_t - mean) @ gain) @ self.transition.T
            covariance = covariance - cross @ gain
            covariance = self.transition @ covariance @ self.transition.T + identity
        return total

    def messages(self, x: Tensor, exists: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return each z_t's Gaussian message from x_t, ..., x_T: weight ([B,] Z, Z) and field (B, Z)."""
        tril = self.raw_tril.tril(-1) + self.raw_tril.diagonal().exp().diag()
        fields = self.regression(self._scaled_steps(x))  # (B, T, Z)
        potentials = [
            (exists[t, ..., None, None] * (tril @ tril.T), exists[t, ..., None] * fields[:, t])
            for t in range(self.steps)
        ]
        return backward_messages(potentials, self.transition)
