"""Bar 2: random effects where mean field loses; the evidence is a quadrature's."""

import math
import time
from collections.abc import Iterator

import pyro
import pyro.distributions as dist
import torch
from first_models.quadrature import gauss_legendre, log_integral
from pyro.infer import ELBO
from torch import Tensor

from guide_gaps.draws import elbo_of
from pyro_vae import fit

GROUPS, DRAWS = 300, 2_000
HEAD = (
    "random effects",
    "log p",
    "log p - ELBO, nats",
    "its error",
    "sd(mean) over the exact one",
    "seconds",
    "bar met",
)


def padded(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    spread = pyro.sample("spread", dist.LogNormal(0.0, 0.5))
    with pyro.plate("groups", len(x), dim=-2):
        effect = pyro.sample("effect", dist.Normal(mean, spread))
        with pyro.plate("members", x.shape[1], dim=-1):
            pyro.sample("x", dist.Normal(effect, 0.5), obs=x)


def long(x: Tensor, group: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    spread = pyro.sample("spread", dist.LogNormal(0.0, 0.5))
    with pyro.plate("groups", GROUPS):
        effect = pyro.sample("effect", dist.Normal(mean, spread))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(effect[group], 0.5), obs=x)


def rows(steps: int | None, elbo: ELBO | None = None) -> Iterator[list[str]]:
    """Yield a row for each form of the data, fitted at the defaults, or in so many steps."""
    pyro.set_rng_seed(0)
    x = 1 + torch.randn(GROUPS, 1) + 0.5 * torch.randn(GROUPS, 2)
    exact, sd = log_evidence_and_sd(x)
    group = torch.arange(GROUPS).repeat_interleave(2)
    forms = (("a group a row", padded, (x,)), ("long", long, (x.flatten(), group)))
    for name, model, args in forms:
        started = time.monotonic()
        data = args if len(args) > 1 else args[0]
        result = fit(model, data, epochs=steps, elbo=elbo, seed=0, progress=False, device="cpu")
        reached, error = elbo_of(result.program, args, DRAWS)
        draws = result.program[1].shared.joint.distribution().sample((100_000,))[:, 0]
        ratio = float(draws.std()) / sd
        met = exact - reached <= 0.1 and abs(ratio - 1) <= 0.05
        yield [
            f"{GROUPS} groups of 2, {name}",
            f"{exact:.2f}",
            f"{exact - reached:.3f}",
            f"{error:.3f}",
            f"{ratio:.3f}",
            f"{time.monotonic() - started:.0f}",
            "yes" if met else "no",
        ]


def log_evidence_and_sd(x: Tensor, noise: float = 0.5) -> tuple[float, float]:
    """Return log p(x) of groups, and the posterior's sd of the mean, by quadrature."""
    count, means = x.shape[1], x.double().mean(1)
    squares = (x.double() - means[:, None]).square().sum() / noise**2
    logs = (count - 1) * math.log(2 * math.pi * noise**2) + math.log(count)
    within = -0.5 * (squares + len(x) * logs)
    middle, around = means.mean(), (means - means.mean()).square().sum()

    def log_joint(mean: Tensor, spread: Tensor) -> Tensor:
        variance = spread.square() + noise**2 / count
        squares = around + len(x) * (middle - mean).square()
        each = -0.5 * (squares / variance + len(x) * (2 * math.pi * variance).log())
        prior = dist.Normal(0.0, 3.0).log_prob(mean) + dist.LogNormal(0.0, 0.5).log_prob(spread)
        return each + within + prior

    rules = gauss_legendre(0.3, 1.7, 120), gauss_legendre(0.5, 1.6, 120)
    total = log_integral(log_joint, *rules)

    def moment(power: int) -> float:
        """The mean of (mean + 10)^power, whose log there is."""
        shifted = log_integral(lambda m, s: log_joint(m, s) + power * (m + 10).log(), *rules)
        return float(torch.tensor(shifted - total, dtype=torch.float64).exp())

    return total, (moment(2) - moment(1) ** 2) ** 0.5
