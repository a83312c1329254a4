"""The peer of every benchmark here: the same VAE written by hand in plain torch, without Pyro."""

from collections.abc import Callable
from typing import cast

import pyro
import pyro.distributions as dist
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus


class HandVAE(nn.Module):
    """784-200-200-50 and back, softplus, Bernoulli; the KL term in closed form or from the draw."""

    def __init__(
        self, closed_form: bool, data_dim: int = 784, hidden: int = 200, latent_dim: int = 50
    ) -> None:
        super().__init__()
        self.closed_form = closed_form
        self.e1, self.e2 = nn.Linear(data_dim, hidden), nn.Linear(hidden, hidden)
        self.e3 = nn.Linear(hidden, 2 * latent_dim)
        self.d1, self.d2 = nn.Linear(latent_dim, hidden), nn.Linear(hidden, hidden)
        self.d3 = nn.Linear(hidden, data_dim)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        loc, log_scale = self.e3(softplus(self.e2(softplus(self.e1(x))))).chunk(2, -1)
        return loc, log_scale

    def decode(self, z: Tensor) -> Tensor:
        return cast(Tensor, self.d3(softplus(self.d2(softplus(self.d1(z))))))

    def loss(self, x: Tensor, noise: Tensor) -> Tensor:
        """Minus the ELBO per image, in nats."""
        loc, log_scale = self.encode(x)
        z = loc + log_scale.exp() * noise
        distortion = binary_cross_entropy_with_logits(self.decode(z), x, reduction="sum")
        if self.closed_form:
            rate = 0.5 * (loc.square() + (2 * log_scale).exp() - 1 - 2 * log_scale).sum()
        else:
            rate = (0.5 * z.square() - 0.5 * noise.square() - log_scale).sum()
        return (distortion + rate) / len(x)

    def as_program(self, x: Tensor) -> tuple[tuple[Callable[[Tensor], None], ...], Tensor]:
        """The same networks as a Pyro model and guide, so that one estimator judges all."""

        def model(x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                z = pyro.sample("z", dist.Normal(x.new_zeros(50), 1.0).to_event(1))
                pyro.sample("x", dist.Bernoulli(logits=self.decode(z)).to_event(1), obs=x)

        def guide(x: Tensor) -> None:
            loc, log_scale = self.encode(x)
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

        return (model, guide), x.flatten(1)
