"""Fits of little data by hand-made guides: how far each learning rate gets in so many steps.

    python benchmarks/small_data.py [--models linear schools groups answers counts level] [--steps 5000]

Each row is a model with an AutoNormal guide and a learning rate: the ELBO over the last twentieth of the
steps, the evidence of 4,000 draws with its Pareto k, and seconds. "default" is what fit chooses.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer.autoguide import AutoNormal
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_vae import fit, log_evidence

Problem = tuple[Callable[..., None], tuple[Tensor, ...]]
GENERATOR = torch.Generator().manual_seed(0)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR)


def dot(x: Tensor, weights: Tensor) -> Tensor:
    return (x * weights.unsqueeze(-2)).sum(-1)


def linear() -> Problem:
    """A regression of 200 rows, whose intercept is 20."""
    x = noise(200, 4)
    y = 20 + x @ torch.tensor([1.0, -2.0, 0.0, 5.0]) + 3 * noise(200)

    def model(x: Tensor, y: Tensor) -> None:
        a = pyro.sample("a", dist.Normal(0.0, 50.0))
        b = pyro.sample("b", dist.Normal(torch.zeros(4), 10.0).to_event(1))
        s = pyro.sample("s", dist.HalfNormal(10.0))
        with pyro.plate("rows", len(x)):
            loc = a.unsqueeze(-1) + dot(x, b)
            pyro.sample("y", dist.Normal(loc, s.unsqueeze(-1)), obs=y)

    return model, (x, y)


def schools() -> Problem:
    """Eight schools, with effects in units of their spread (D. B. Rubin, 1981)."""
    y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    errors = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

    def model(y: Tensor, errors: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 5.0)).unsqueeze(-1)
        spread = pyro.sample("spread", dist.HalfCauchy(5.0)).unsqueeze(-1)
        with pyro.plate("schools", 8):
            effect = pyro.sample("effect", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(mean + spread * effect, errors), obs=y)

    return model, (y, errors)


def groups() -> Problem:
    """Thirty groups of seven."""
    group = torch.arange(30).repeat_interleave(7)
    y = (2 + 0.8 * noise(30))[group] + 1.2 * noise(210)

    def model(group: Tensor, y: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 5.0)).unsqueeze(-1)
        spread, error = (pyro.sample(n, dist.HalfNormal(2.0)).unsqueeze(-1) for n in "se")
        with pyro.plate("groups", 30):
            effect = pyro.sample("effect", dist.Normal(mean, spread))
        with pyro.plate("rows", len(y)):
            pyro.sample("y", dist.Normal(effect[..., group], error), obs=y)

    return model, (group, y)


def answers() -> Problem:
    """A hundred people's answers to ten items, by a two-parameter logistic model."""
    ability, slope, difficulty = noise(100, 1), (0.3 * noise(10)).exp(), noise(10)
    p = torch.sigmoid(slope * (ability - difficulty))
    y = torch.bernoulli(p, generator=GENERATOR)

    def model(y: Tensor) -> None:
        with pyro.plate("items", 10):
            slope = pyro.sample("slope", dist.LogNormal(0.0, 0.5)).unsqueeze(-2)
            difficulty = pyro.sample("difficulty", dist.Normal(0.0, 1.5)).unsqueeze(-2)
        with pyro.plate("people", len(y)):
            ability = pyro.sample("ability", dist.Normal(0.0, 1.0)).unsqueeze(-1)
            logits = slope * (ability - difficulty)
            pyro.sample("y", dist.Bernoulli(logits=logits).to_event(1), obs=y)

    return model, (y,)


def counts() -> Problem:
    """A Poisson regression of 200 rows."""
    x = noise(200, 3)
    rates = (1 + x @ torch.tensor([0.5, -0.3, 0.1])).exp()
    y = torch.poisson(rates, generator=GENERATOR)

    def model(x: Tensor, y: Tensor) -> None:
        a = pyro.sample("a", dist.Normal(0.0, 5.0))
        b = pyro.sample("b", dist.Normal(torch.zeros(3), 2.0).to_event(1))
        with pyro.plate("rows", len(x)):
            pyro.sample("y", dist.Poisson((a.unsqueeze(-1) + dot(x, b)).exp()), obs=y)

    return model, (x, y)


def level() -> Problem:
    """A local level over a hundred steps, by its increments."""
    y = (0.3 * noise(100)).cumsum(0) + noise(100)

    def model(y: Tensor) -> None:
        drift = pyro.sample("drift", dist.LogNormal(-1.0, 1.0)).unsqueeze(-1)
        error = pyro.sample("error", dist.LogNormal(0.0, 1.0)).unsqueeze(-1)
        with pyro.plate("time", len(y)):
            step = pyro.sample("step", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal((drift * step).cumsum(-1), error), obs=y)

    return model, (y,)


PROBLEMS = {each.__name__: each for each in (linear, schools, groups, answers, counts, level)}


def ways(steps: int) -> dict[str, dict[str, Any]]:
    """The options of a fit for each learning rate."""
    falling = partial(CosineAnnealingLR, T_max=steps)
    rates = {f"{lr:g}, falling": lr for lr in (0.01, 0.03, 0.3)}
    return {
        "0.001": {"optimizer": partial(Adam, lr=0.001)},
        **{n: {"optimizer": partial(Adam, lr=r), "lr_schedule": falling} for n, r in rates.items()},
        "default": {},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=PROBLEMS, default=list(PROBLEMS))
    parser.add_argument("--steps", type=int, default=5_000)
    options = parser.parse_args()
    print("| model | learning rate | ELBO | evidence | k | seconds |\n|---|---|---|---|---|---|")
    for name in options.models:
        model, args = PROBLEMS[name]()
        for way, given in ways(options.steps).items():
            pyro.clear_param_store()
            started = time.monotonic()
            program = model, AutoNormal(model)
            result = fit(program, args=args, steps=options.steps, progress=False, **given)
            seconds = time.monotonic() - started
            last = [m["train_elbo"] for m in result.metrics[-options.steps // 20 :]]
            evidence = log_evidence(program, args=args, num_particles=4_000, seed=0)
            figures = f"{sum(last) / len(last):.2f} | {evidence.total:.2f}"
            k = float(evidence.pareto_k.max())
            print(f"| {name} | {way} | {figures} | {k:.2f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
