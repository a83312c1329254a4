"""The linear-Gaussian state space model, whose evidence the Kalman filter knows exactly."""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.networks import Shape
from pyro_vae.sequences.steps import as_data, as_steps, seen_steps
from pyro_vae.sequences.transitions import from_later
from pyro_vae.units import Units


class StateSpace(nn.Module):
    """z_1 ~ Normal(m, diag(s^2)), z_t ~ Normal(A z_(t-1), I), x_t ~ Normal(C z_t + b, diag(r^2)).

    Noise of unit scale and a diagonal start lose nothing: any other two covariances become these by a
    change of the state's coordinates. The guide gives each x_t a Gaussian potential in z_t and joins
    them by the model's own chain,

        q(z | x) ∝ p(z) prod_t exp(z_t' (H x_t + h) - z_t' J z_t / 2),  J = L L',

    drawn forwards as prod_t q(z_t | z_(t-1), x_t, x_(t+1), ...). Its family holds the exact posterior
    (J = C' diag(r^-2) C and so on), so a fitted ELBO can reach the evidence.

    Sequences of unlike length come as a tuple (x, lengths), padded with any finite numbers; nothing of
    them counts from step ``lengths`` on.

    Source: R. E. Kalman, "A new approach to linear filtering and prediction problems", 1960,
    https://doi.org/10.1115/1.3662552; J. Durbin, S. J. Koopman, "Time series analysis by state space
    methods", 2nd edition, 2012, chapter 4; the guide: M. J. Johnson et al., "Composing graphical models
    with neural networks for structured representations and fast inference", 2016,
    https://arxiv.org/abs/1603.06277.

    Args:
        data_shape: (T, D), or (T,) for one value a step; of an image (channels, T, columns), the rows
            are the steps.
        latent_dim: size Z of the state.

    :raises InputError: data of another shape, or lengths that are not one whole number a sequence.

    >>> x, lengths = torch.zeros(2, 7, 3), torch.tensor([7, 4])
    >>> StateSpace((7, 3), 2).log_evidence(x, lengths).shape
    torch.Size([2])
    """

    def __init__(self, data_shape: Shape, latent_dim: int = 2) -> None:
        super().__init__()
        if min(data_shape, default=0) < 1 or latent_dim < 1:
            raise InputError(
                "StateSpace needs data of shape (steps, values) and a latent_dim of at least 1, not "
                f"{tuple(data_shape)} and {latent_dim}"
            )
        self.data_shape, self.latent_dim = tuple(data_shape), latent_dim
        self.steps = self.data_shape[-2:][0]  # T
        size = math.prod(self.data_shape) // self.steps  # D
        self.initial_loc = nn.Parameter(torch.zeros(latent_dim))  # m
        self.initial_log_scale = nn.Parameter(torch.zeros(latent_dim))  # log s
        self.transition = nn.Parameter(0.9 * torch.eye(latent_dim))  # A
        self.loadings = nn.Parameter(torch.randn(size, latent_dim) / math.sqrt(size))  # C
        self.bias = nn.Parameter(torch.zeros(size))  # b
        self.log_scale = nn.Parameter(torch.zeros(size))  # log r
        self.units = Units((size,))  # of x; A to L are of x less its location, over its scale
        self.regression = nn.Linear(size, latent_dim)  # H, h
        self.raw_tril = nn.Parameter(torch.zeros(latent_dim, latent_dim))  # L

    def model(self, x: Tensor, lengths: Tensor | None = None) -> None:
        seen = seen_steps(x, self.data_shape, lengths)
        loc: Tensor = self.initial_loc
        scale, states = self.initial_log_scale.exp(), []
        with pyro.plate("sequences", len(x)):
            for t in pyro.markov(range(self.steps)):
                with pyro.poutine.mask(mask=seen[t]):
                    z = pyro.sample(f"z_{t}", dist.Normal(loc, scale).to_event(1))  # (B | Z)
                loc, scale = z @ self.transition.T, torch.ones_like(scale)
                states.append(z)
            loc = torch.stack(states, -2) @ self.loadings.T + self.bias  # (B, T, D)
            loc = self.units.location + self.units.scale * loc
            scale = (self.units.scale * self.log_scale.exp()).expand_as(loc)
            scale = as_data(scale, self.data_shape)
            p = dist.Normal(as_data(loc, self.data_shape), scale)
            if lengths is not None:
                p = p.mask(as_data(seen.T.unsqueeze(-1).expand_as(loc), self.data_shape))
            pyro.sample("x", p.to_event(len(self.data_shape)), obs=x)  # (B | T, D)

    def guide(self, x: Tensor, lengths: Tensor | None = None) -> None:
        seen = seen_steps(x, self.data_shape, lengths)
        loc: Tensor = self.initial_loc
        precision = (-2 * self.initial_log_scale).exp().diag()
        with pyro.plate("sequences", len(x)):
            for t, (weight, field) in enumerate(self.messages(x, seen)):
                total = precision + weight
                loc = torch.linalg.solve(total, (field + loc @ precision).unsqueeze(-1)).squeeze(-1)
                q = dist.MultivariateNormal(loc, precision_matrix=total)
                with pyro.poutine.mask(mask=seen[t]):
                    z = pyro.sample(f"z_{t}", q)  # (B | Z)
                loc, precision = z @ self.transition.T, torch.eye(self.latent_dim).to(z)

    def learn_units(self, x: Tensor) -> None:
        self.units.learn(as_steps(x, self.data_shape).flatten(0, -2))

    def _scaled_steps(self, x: Tensor) -> Tensor:
        return (as_steps(x, self.data_shape) - self.units.location) / self.units.scale

    def log_evidence(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """log p(x) in nats, exactly; x is ``batch | T, D``, the result ``batch |``."""
        seen, total = seen_steps(x, self.data_shape, lengths), x.new_zeros(len(x))
        loc, covariance = self.initial_loc, (2 * self.initial_log_scale).exp().diag()
        noise, identity = (2 * self.log_scale).exp().diag(), torch.eye(self.latent_dim).to(x)
        log_units = self.units.scale.log().sum()
        for t, x_t in enumerate(self._scaled_steps(x).unbind(1)):
            cross = covariance @ self.loadings.T  # (Z, D)
            spread = self.loadings @ cross + noise  # of x_t given all before it, (D, D)
            predicted = dist.MultivariateNormal(loc @ self.loadings.T + self.bias, spread)
            total = total + torch.where(seen[t], predicted.log_prob(x_t) - log_units, 0.0)
            gain = torch.linalg.solve(spread, cross.T)  # (D, Z)
            loc = (loc + (x_t - predicted.mean) @ gain) @ self.transition.T
            covariance = covariance - cross @ gain
            covariance = self.transition @ covariance @ self.transition.T + identity
        return total

    def messages(self, x: Tensor, seen: Tensor) -> list[tuple[Tensor, Tensor]]:
        """What x_t and all after it say of z_t: its weight ([B,] Z, Z) and its field (B, Z), each t."""
        tril = self.raw_tril.tril(-1) + self.raw_tril.diagonal().exp().diag()
        fields = self.regression(self._scaled_steps(x))  # (B, T, Z)
        potentials = [
            (seen[t, ..., None, None] * (tril @ tril.T), seen[t, ..., None] * fields[:, t])
            for t in range(self.steps)
        ]
        return from_later(potentials, self.transition)
