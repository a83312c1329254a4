"""Bar 3: hierarchies of many groups, against Pyro's guides and one by hand, after equal times."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import autoguide
from torch import Tensor, nn
from torch._inductor.utils import fresh_cache
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from guide_gaps.draws import elbo_of
from guide_gaps.hard import log_evidence_and_sd
from pyro_vae import fit
from pyro_vae.guides import AutoAmortized
from pyro_vae.inference.objectives import Landing, Schedule

MEMBERS, DRAWS, MOST_STEPS = 3, 300, 1_000_000
LR, LR_OF_PYRO = 3e-3, 1e-2
BATCH = 100
MOST_DENSE = 1_000  # groups, up to which a covariance of all latents fits
HEAD = (
    "groups",
    "guide",
    "seconds",
    "steps",
    "ELBO, nats",
    "log p - ELBO",
    "its error",
    "new groups, ELBO each",
)


def model(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    spread = pyro.sample("spread", dist.LogNormal(0.0, 0.5))
    with pyro.plate("groups", len(x), dim=-2):
        effect = pyro.sample("effect", dist.Normal(mean, spread))
        with pyro.plate("members", MEMBERS, dim=-1):
            pyro.sample("x", dist.Normal(effect, 1.0), obs=x)


class ByHand(nn.Module):
    """Draw shared latents from independent normals, and effects from a network, as most would write it."""

    def __init__(self, network: nn.Module | None = None) -> None:
        super().__init__()
        self.loc, self.log_scale = (
            nn.Parameter(torch.zeros(2)),
            nn.Parameter(torch.full((2,), -2.0)),
        )
        small = nn.Sequential(nn.Linear(MEMBERS + 2, 64), nn.SiLU(), nn.Linear(64, 2))
        self.network = small if network is None else network

    def forward(self, x: Tensor) -> None:
        scale = self.log_scale.exp()
        mean = pyro.sample("mean", dist.Normal(self.loc[0], scale[0]))
        spread = pyro.sample("spread", dist.LogNormal(self.loc[1], scale[1]))
        shared = torch.stack([mean, spread.log()], -1).expand(len(x), 2)
        loc, log_scale = self.network(torch.cat([x, shared], -1)).chunk(2, -1)
        with pyro.plate("groups", len(x), dim=-2):
            pyro.sample("effect", dist.Normal(loc, log_scale.exp()))


def guides(x: Tensor) -> dict[str, Callable[[], Any]]:
    """Return what makes each guide; those with dense covariances only where they fit."""
    found: dict[str, Callable[[], Any]] = {
        "AutoAmortized": lambda: AutoAmortized(model, x[:1000]),
        "by hand": ByHand,
        "AutoNormal": lambda: autoguide.AutoNormal(model),
        "AutoStructured": lambda: autoguide.AutoStructured(model, conditionals="normal"),
        "AutoHierarchicalNormalMessenger": lambda: autoguide.AutoHierarchicalNormalMessenger(model),
    }
    if len(x) <= MOST_DENSE:
        found |= {
            "AutoMultivariateNormal": lambda: autoguide.AutoMultivariateNormal(model),
            "AutoGaussian": lambda: autoguide.AutoGaussian(model),
        }
    return found


def rows(groups: Sequence[int], seconds: Sequence[float]) -> Iterator[list[str]]:
    """Yield a row for each number of groups, time and guide."""
    for count in groups:
        pyro.set_rng_seed(0)
        x, new = (1 + torch.randn(n, 1) + torch.randn(n, MEMBERS) for n in (count, 777))
        exact, _ = log_evidence_and_sd(x, noise=1.0)
        for limit in seconds:
            for name, make in guides(x).items():
                lr = LR_OF_PYRO if name.startswith("Auto") and name != "AutoAmortized" else LR
                try:
                    yield [f"{count:,}", name, *figures(make, x, new, limit, lr, exact)]
                except Exception as error:
                    said = str(error).strip().split("\n")[0]
                    yield [f"{count:,}", name, *[""] * 5, f"{type(error).__name__}: {said}"]


def figures(
    make: Callable[[], Any], x: Tensor, new: Tensor, limit: float, lr: float, exact: float
) -> list[str]:
    """Train a guide for so many seconds, and weigh it."""
    pyro.clear_param_store()
    guide = make()
    steps = trained(guide, x, limit, lr)
    elbo, error = elbo_of((model, guide), (x,), DRAWS)
    return [
        f"{limit:g}",
        f"{steps:,}",
        f"{elbo:.2f}",
        f"{exact - elbo:.2f}",
        f"{error:.2f}",
        of_new(guide, new),
    ]


class TimeUp(Exception):
    """Say that a training has had its time."""


class Clock(Schedule):
    """Go from 0 to 1 over the first half of the time, as the made guide's objective does by default."""

    def __init__(self, limit: float) -> None:
        self.limit, self.started = limit, time.monotonic()

    def __call__(self, epochs: float) -> float:
        return min(1.0, 2 * self.spent)

    @property
    def spent(self) -> float:
        """How much of the time is over."""
        return (time.monotonic() - self.started) / self.limit


def trained(guide: Any, x: Tensor, limit: float, lr: float) -> int:
    """Fit a guide for so many seconds, compilation included; return the number of steps.

    Guides with parameters of each group take all groups in each step, others a batch. The learning rate
    falls along a cosine of the time.
    """
    is_amortized = isinstance(guide, AutoAmortized | ByHand)
    data: dict[str, Any] = {"data": x, "batch_size": BATCH} if is_amortized else {"args": (x,)}
    steps = 0

    def share(step: int) -> float:
        nonlocal steps
        steps = step
        if clock.spent > 1:
            raise TimeUp
        return (1 + math.cos(math.pi * clock.spent)) / 2

    with fresh_cache(), suppress(TimeUp):  # as of a first run
        clock = Clock(limit)
        fit(
            (model, guide),
            **data,
            epochs=MOST_STEPS,
            optimizer=partial(Adam, lr=lr),
            lr_schedule=partial(LambdaLR, lr_lambda=share),
            elbo=Landing(clock) if isinstance(guide, AutoAmortized) else None,
            progress=False,
            device="cpu",
        )
    return steps * len(x) // BATCH if is_amortized else steps


def of_new(guide: Any, new: Tensor) -> str:
    """Return the ELBO of each of the groups that were not there in training, if the guide can draw them."""
    try:
        elbo, _ = elbo_of((model, guide), (new,), 100)
    except Exception:
        return "cannot"
    return f"{elbo / len(new):.3f}"
