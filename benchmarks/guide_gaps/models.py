"""Models whose posteriors are known in closed form."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

Arguments = tuple[Tensor, ...]


@dataclass(frozen=True)
class ClosedForm:
    """Hold a model, draws of its data, and its exact evidence and posterior.

    Attributes:
        model: of rows.
        draw: arguments of so many units.
        log_evidence: of each unit, from the arguments.
        posterior: its latents' distribution given the arguments, ``units | D`` or ``units |``.
        nesting: of the plates.
        latents: their names, in the order of D.
        bars: most KL in the median and at 95 %, least ESS / K at 5 %.
        draws: how many of each unit are affordable.
    """

    name: str
    model: Callable[..., None]
    draw: Callable[[int], Arguments]
    log_evidence: Callable[..., Tensor]
    posterior: Callable[..., Any]
    nesting: int = 1
    latents: tuple[str, ...] = ("z",)
    bars: tuple[float, float, float] = (0.01, 0.05, 0.9)
    draws: int = 4_000


# --- groups of one to eight values ------------------------------------------------------------------

MOST = 8


def groups(x: Tensor, mask: Tensor) -> None:
    with pyro.plate("groups", len(x), dim=-2):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("members", MOST, dim=-1), poutine.mask(mask=mask):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def groups_with_gaps(x: Tensor) -> None:
    groups(x.nan_to_num(), ~x.isnan())


def groups_with_mean(x: Tensor, mask: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    with pyro.plate("groups", len(x), dim=-2):
        z = pyro.sample("z", dist.Normal(mean, 1.0))
        with pyro.plate("members", MOST, dim=-1), poutine.mask(mask=mask):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def draw_groups(count: int) -> Arguments:
    mask = torch.arange(MOST) < torch.randint(1, MOST + 1, (count, 1))
    return (torch.randn(count, 1) + torch.randn(count, MOST)) * mask, mask


def draw_gaps(count: int) -> Arguments:
    x, mask = draw_groups(count)
    places = torch.rand(count, MOST).argsort(1)  # gaps are anywhere
    return (x.masked_fill(~mask, torch.nan).gather(1, places),)


def draw_groups_around_2(count: int) -> Arguments:
    x, mask = draw_groups(count)
    return (x + 2) * mask, mask


def effect(x: Tensor, mask: Tensor) -> dist.Normal:
    precision = 1 + mask.double().sum(1)
    return dist.Normal((x.double() * mask).sum(1) / precision, precision.rsqrt())


def groups_evidence(x: Tensor, mask: Tensor) -> Tensor:
    q = effect(x, mask)
    each = dist.Normal(0.0, 1.0).log_prob(x.double()) * mask
    return each.sum(1) + 0.5 * (q.loc / q.scale).square() + q.scale.log()


# --- counts -----------------------------------------------------------------------------------------

TRIALS = 10


def gamma_poisson(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        z = pyro.sample("z", dist.Gamma(2.0, 0.5))
        pyro.sample("x", dist.Poisson(z), obs=x)


def beta_binomial(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        z = pyro.sample("z", dist.Beta(2.0, 3.0))
        pyro.sample("x", dist.Binomial(TRIALS, z), obs=x)


# --- linear models ----------------------------------------------------------------------------------


def linear(size: int) -> ClosedForm:
    """Return z ~ Normal(0, I) of this size and twice as many values x ~ Normal(W z, I)."""
    generator = torch.Generator().manual_seed(0)
    loadings = torch.randn(2 * size, size, generator=generator) / size**0.5
    precision = torch.eye(size) + loadings.T @ loadings

    def model(x: Tensor) -> None:
        with pyro.plate("units", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(size), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ loadings.T, 1.0).to_event(1), obs=x)

    def posterior(x: Tensor) -> Any:
        loc = torch.linalg.solve(precision, (x @ loadings).T).T
        return dist.MultivariateNormal(loc.double(), precision_matrix=precision.double())

    covariance = (loadings @ loadings.T + torch.eye(2 * size)).double()
    evidence = dist.MultivariateNormal(torch.zeros(2 * size).double(), covariance)
    return ClosedForm(
        f"linear, {size} latents",
        model,
        lambda count: (evidence.sample((count,)).float(),),
        lambda x: evidence.log_prob(x.double()),
        posterior,
        bars=(0.04, 0.08, 0.8) if size > 16 else (0.01, 0.05, 0.9),
        draws=1_000 if size > 16 else 4_000,
    )


def local_level(steps: int = 50, level: float = 0.5) -> ClosedForm:
    """Return a random walk that starts at Normal(0, 1), seen through noise Normal(0, 1)."""

    def model(x: Tensor) -> None:
        with pyro.plate("units", len(x)):
            z: Any = pyro.sample("z_0", dist.Normal(0.0, 1.0))
            pyro.sample("x_0", dist.Normal(z, 1.0), obs=x[:, 0])
            for t in range(1, steps):
                z = pyro.sample(f"z_{t}", dist.Normal(z, level))
                pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])

    times = torch.arange(steps, dtype=torch.float64)
    prior = 1 + level**2 * torch.minimum(times, times[:, None])
    covariance = prior + torch.eye(steps, dtype=torch.float64)
    evidence = dist.MultivariateNormal(torch.zeros(steps).double(), covariance)
    gain = torch.linalg.solve(covariance, prior).T

    def posterior(x: Tensor) -> Any:
        return dist.MultivariateNormal(x.double() @ gain.T, prior - gain @ prior)

    return ClosedForm(
        f"local level, {steps} steps",
        model,
        lambda count: (evidence.sample((count,)).float(),),
        lambda x: evidence.log_prob(x.double()),
        posterior,
        latents=tuple(f"z_{t}" for t in range(steps)),
        draws=1_200,
    )


COUNTS = dist.GammaPoisson(2.0, 0.5)
TRIES = dist.BetaBinomial(2.0, 3.0, TRIALS)
CLOSED_FORMS = (
    ClosedForm("groups, padded", groups, draw_groups, groups_evidence, effect, nesting=2),
    ClosedForm(
        "groups, NaN",
        groups_with_gaps,
        draw_gaps,
        lambda x: groups_evidence(x.nan_to_num(), ~x.isnan()),
        lambda x: effect(x.nan_to_num(), ~x.isnan()),
        nesting=2,
    ),
    ClosedForm(
        "Gamma-Poisson",
        gamma_poisson,
        lambda count: (COUNTS.sample((count,)),),
        lambda x: COUNTS.log_prob(x).double(),
        lambda x: dist.Gamma(2 + x.double(), 1.5),
    ),
    ClosedForm(
        "Beta-Binomial",
        beta_binomial,
        lambda count: (TRIES.sample((count,)),),
        lambda x: TRIES.log_prob(x).double(),
        lambda x: dist.Beta(2 + x.double(), 3 + TRIALS - x.double()),
    ),
    linear(16),
    linear(64),
    local_level(),
)
