"""Adversaries against closed forms: modes and KL, a Wasserstein distance, a posterior, an optimum."""

import math
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from controls import GRAPHS
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_vae import fit, prior_samples
from pyro_vae.inference.objectives import (
    AAE,
    AVB,
    R1R2,
    Adversarial,
    GradientPenalty,
    LogRatio,
    Relativistic,
    Wasserstein,
)
from pyro_vae.models import GAN
from pyro_vae.networks import MLP, SpectralNorm
from pyro_vae.program.prior_guide import with_prior_as_guide

quick: Any = partial(fit, progress=False, device="cpu", control=GRAPHS)


# --- mixtures ---------------------------------------------------------------------------------

SPREAD = 0.1
RING = 2 * torch.stack(
    [(torch.arange(8) * math.pi / 4).cos(), (torch.arange(8) * math.pi / 4).sin()], 1
)
GRID = torch.cartesian_prod(torch.arange(5.0) - 2, torch.arange(5.0) - 2)


def mixture(centres: Tensor) -> Any:
    parts = dist.Normal(centres, SPREAD).to_event(1)
    return dist.MixtureSameFamily(dist.Categorical(torch.ones(len(centres))), parts)


def fitted_to(centres: Tensor, width: int, epochs: int) -> GAN:
    torch.manual_seed(0)
    x = mixture(centres).sample((4096,))
    network = partial(MLP, hidden_dims=(width, width), activation=nn.LeakyReLU)
    gan = GAN((2,), 2, generator=network, scale=0.05)
    quick(
        gan,
        x,
        epochs=epochs,
        batch_size=256,
        elbo=Adversarial(Relativistic(), R1R2(0.1), network),
        optimizer=partial(Adam, lr=2e-3, betas=(0.0, 0.9)),
        lr_schedule=partial(CosineAnnealingLR, T_max=epochs),
        averaging=0.2,
    )
    return gan


def check_modes(gan: GAN, centres: Tensor, most: float) -> None:
    """Every mode has a fair share of the draws, and KL(data || model), by quadrature, is small."""
    drawn = prior_samples(gan, torch.zeros(1, 2), num_draws=4000, seed=0, device="cpu")
    nearest = torch.cdist(drawn.predictive["x"].reshape(-1, 2), centres).argmin(1)
    shares = torch.bincount(nearest, minlength=len(centres)) / 4000
    assert (shares > 0.3 / len(centres)).all(), shares
    torch.manual_seed(1)
    x = mixture(centres).sample((400,))
    differences = mixture(centres).log_prob(x) - log_evidence_on_a_grid(gan, x)
    kl, error = float(differences.mean()), float(differences.std()) / len(x) ** 0.5
    assert -4 * error < kl < most, (kl, error)
    assert error < 0.15


@torch.no_grad()
def log_evidence_on_a_grid(gan: GAN, x: Tensor) -> Tensor:
    """log p(x), by the trapezoid rule over z in two dimensions."""
    line = torch.linspace(-5, 5, 300)
    z = torch.cartesian_prod(line, line)
    log_prior = dist.Normal(0.0, 1.0).log_prob(z).sum(1) + 2 * (line[1] - line[0]).log()
    likelihood = gan.likelihood(z)
    return torch.stack([(likelihood.log_prob(row) + log_prior).logsumexp(0) for row in x])


@pytest.mark.slow
def test_eight_modes() -> None:
    check_modes(fitted_to(RING, 64, epochs=80), RING, most=1.0)


@pytest.mark.slow
def test_twenty_five_modes() -> None:
    check_modes(fitted_to(GRID, 96, epochs=250), GRID, most=1.5)


# --- a Wasserstein distance -------------------------------------------------------------------


def still(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
        loc, scale = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])
        loc[0], scale[0] = 1.0, 2.0
        pyro.sample("x", dist.Normal(loc, scale).to_event(1), obs=x)


@pytest.mark.parametrize(
    ("penalty", "network", "dim"),
    [
        pytest.param(
            None,
            partial(SpectralNorm, network=partial(MLP, activation=nn.ReLU)),
            1,
            marks=pytest.mark.slow,
        ),
        (GradientPenalty(10.0), partial(MLP, hidden_dims=(64,), activation=nn.ReLU), 2),
    ],
    ids=["spectral norm", "gradient penalty"],
)
def test_a_critic_finds_the_distance_of_two_normals(penalty: Any, network: Any, dim: int) -> None:
    """W(Normal(0, 1), Normal(1, 2)) = E |1 + u|, as quantile by quantile one is 1 + 2 u and the other u.

    A second number with the same distribution in both changes nothing. The gradient penalty has it, since
    on a line a slope of -1 cannot become one of 1: at 0 the penalty is greatest, and keeps the sign.
    """
    exact = math.sqrt(2 / math.pi) * math.exp(-0.5) + math.erf(math.sqrt(0.5))
    torch.manual_seed(0)
    model, guide = with_prior_as_guide(still)
    elbo = Adversarial(Wasserstein(), penalty, network).planned((model, guide), torch.randn(8, dim))
    critic = elbo.discriminator
    adam = Adam(critic.parameters(), lr=5e-3, betas=(0.5, 0.9))
    decay = CosineAnnealingLR(adam, 400)
    for _ in range(400):
        adam.zero_grad()
        (elbo.differentiable_loss(model, guide, torch.randn(256, dim)) / 256).backward()
        adam.step()
        decay.step()
    real, made = torch.randn(2, 50_000, dim)
    made[:, 0] = 1 + 2 * made[:, 0]
    with torch.no_grad():
        r, f = critic.eval()([real]), critic([made])
    found = float(r.mean() - f.mean())
    error = float((r.var() + f.var()).sqrt()) / math.sqrt(50_000)
    if penalty is None:  # a lower bound, as all its slopes are at most 1
        assert found < exact + 4 * error
    assert found == pytest.approx(exact, rel=0.1, abs=4 * error)


# --- a posterior ------------------------------------------------------------------------------

W, S = 1.5, 1.0


class LinearGaussian(nn.Module):
    """z ~ Normal(0, 1), x ~ Normal(W z, S); a guide that is only drawn from, z = a x + c e."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.0))
        self.c = nn.Parameter(torch.tensor(1.0))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(W * z, S).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(self.a * x + self.c * torch.randn_like(x), event_dim=1))


class Quadratic(nn.Module):
    """The family that log-ratios of these normals are in."""

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        nn.init.zeros_(self.linear.weight)

    def forward(self, xz: Tensor) -> Tensor:
        x, z = xz.unbind(-1)
        return self.linear(torch.stack([x * x, x * z, z * z], -1))


def test_avb_finds_the_posterior_of_a_guide_that_has_no_density() -> None:
    torch.manual_seed(0)
    x = math.sqrt(W**2 + S**2) * torch.randn(4096, 1)
    program = LinearGaussian()
    result = quick(
        program,
        x,
        epochs=80,
        batch_size=512,
        elbo=AVB(discriminator=Quadratic, discriminator_options={"lr": 0.1}),
        optimizer=partial(Adam, lr=0.01, betas=(0.5, 0.9)),
        lr_schedule=partial(CosineAnnealingLR, T_max=80),
        averaging=0.2,
    )
    assert float(program.a.detach()) == pytest.approx(W / (W**2 + S**2), abs=0.03)
    assert abs(float(program.c.detach())) == pytest.approx(S / math.sqrt(W**2 + S**2), abs=0.03)
    late = [m["train_objective"] for m in result.metrics[-10:]]
    evidence = float(dist.Normal(0.0, math.sqrt(W**2 + S**2)).log_prob(x).mean())
    assert sum(late) / 10 == pytest.approx(evidence, abs=0.05)


# --- an optimum -------------------------------------------------------------------------------


class Encoder(nn.Module):
    """A decoder that stands still, x = sd z, and a guide Normal(a x, c)."""

    def __init__(self, sd: float) -> None:
        super().__init__()
        self.sd = sd
        self.a = nn.Parameter(torch.tensor(0.2))
        self.log_c = nn.Parameter(torch.tensor(-0.5))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.sd * z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            scale = self.log_c.exp().expand(x.shape)
            pyro.sample("z", dist.Normal(self.a * x, scale).to_event(1))


class Even(nn.Module):
    """b z^2 + c: the log-ratio of two centred normals."""

    def __init__(self, *_: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.linear(z.square())


def test_an_aae_has_its_own_optimum() -> None:
    """z = x / sd(x), without spread: the aggregate is the prior, and nothing is lost of x.

    The ELBO's optimum is another one, with a slope of sd / (1 + sd^2) and a spread of 1 / sqrt(1 + sd^2).
    """
    torch.manual_seed(0)
    sd = 3.0
    x = torch.randn(2048, 1)
    x = sd * (x - x.mean()) / x.std()
    program = Encoder(sd)
    quick(
        program,
        x,
        epochs=100,
        batch_size=512,
        elbo=AAE(1.0, LogRatio(), discriminator=Even, discriminator_options={"lr": 0.05}),
        optimizer=partial(Adam, lr=0.03, betas=(0.5, 0.9)),
        lr_schedule=partial(CosineAnnealingLR, T_max=100),
    )
    assert float(program.a.detach()) == pytest.approx(1 / sd, rel=0.03)
    assert float(program.log_c.detach().exp()) < 0.05
