"""What K importance weights cost: under a plate over particles, by vmap, one by one, by Pyro's own loop.

All take turns; processor seconds of one thread, medians, and as multiples of the second. All must agree.

    python benchmarks/particles.py [--particles 4000] [--rounds 3]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Importance
from torch import Tensor, nn

from pyro_vae.inference.evidence.tiles import open_tiles
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.particles import draw

Way = Callable[[], tuple[Tensor, float]]


def regression(x: Tensor, y: Tensor) -> None:
    w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
    with pyro.plate("data", x.shape[0]):
        pyro.sample("y", dist.Normal(x @ w, 0.5), obs=y)


def from_the_right(x: Tensor, y: Tensor) -> None:
    """The same, with its dimensions counted from the right."""
    w = pyro.sample("w", dist.Normal(torch.zeros(5), 1.0).to_event(1))
    with pyro.plate("data", x.shape[0]):
        pyro.sample("y", dist.Normal((w * x).sum(-1), 0.5), obs=y)


def of_regression(x: Tensor, y: Tensor) -> None:
    precision = torch.eye(5) + x.T @ x / 0.25
    mean = torch.linalg.solve(precision, x.T @ y / 0.25)
    pyro.sample("w", dist.MultivariateNormal(mean, precision_matrix=precision / 1.3))


NETWORK = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
SHAPES = {name: p.shape for name, p in NETWORK.named_parameters()}


def bayesian_network(x: Tensor, y: Tensor) -> None:
    weights = {
        name: pyro.sample(name, dist.Normal(torch.zeros(shape), 1.0).to_event(len(shape)))
        for name, shape in SHAPES.items()
    }
    loc = torch.func.functional_call(NETWORK, weights, (x,)).squeeze(-1)
    with pyro.plate("data", len(x)):
        pyro.sample("y", dist.Normal(loc, 2.0), obs=y)


def of_network(x: Tensor, y: Tensor) -> None:
    for name, shape in SHAPES.items():
        pyro.sample(name, dist.Normal(torch.zeros(shape), 0.9).to_event(len(shape)))


def time_series(x: Tensor, y: Tensor) -> None:
    z = torch.zeros(2)
    turn = torch.tensor([[0.9, 0.1], [-0.1, 0.9]])
    for t in range(20):
        z = pyro.sample(f"z_{t}", dist.Normal(turn @ z, 0.5).to_event(1))
        pyro.sample(f"y_{t}", dist.Normal(z.sum(), 2.0), obs=y[t])


def of_time_series(x: Tensor, y: Tensor) -> None:
    for t in range(20):
        pyro.sample(f"z_{t}", dist.Normal(torch.zeros(2), 0.8).to_event(1))


CASES: dict[str, tuple[Any, Any, Any]] = {  # model, what it is with a plate, guide
    "regression, x @ w, 50 data": (regression, from_the_right, of_regression),
    "network of 57 drawn weights": (bayesian_network, None, of_network),
    "20 steps of time, turn @ z": (time_series, None, of_time_series),
}


def of_call(bound_program: BoundProgram, count: int) -> Way:
    def run() -> tuple[Tensor, float]:
        pyro.set_rng_seed(1)
        started = time.process_time()
        weights = draw(bound_program, count, at_once=512).log_weights
        return weights.flatten(), time.process_time() - started

    return run


def of_pyro(model: Any, guide: Any, args: Any, count: int) -> Way:
    def run() -> tuple[Tensor, float]:
        pyro.set_rng_seed(1)
        started = time.process_time()
        weights = Importance(model, guide=guide, num_samples=count).run(*args).log_weights
        return torch.tensor(weights), time.process_time() - started

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--particles", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(50, 5)
    args, count = (x, x @ torch.randn(5) + 0.5 * torch.randn(50)), options.particles
    print(f"{'':30s}{'plate':>16s}{'vmap':>9s}{'one by one':>18s}{'Pyro Importance':>20s}")
    for name, (model, plated, guide) in CASES.items():
        with open_tiles((model, guide), args=args, seed=0) as tiles:
            bound_program = tiles.example
            if bound_program.vectorized or not bound_program.by_vmap:
                raise SystemExit(
                    f"{name} does not run by vmap: {bound_program.reason or 'it takes a plate'}"
                )
            ways = {
                "vmap": of_call(bound_program, count),
                "one by one": of_call(replace(bound_program, by_vmap=False), count),
                "Pyro": of_pyro(model, guide, args, count),
            }
            if plated:
                with open_tiles((plated, guide), args=args, seed=0) as others:
                    if not others.example.vectorized:
                        raise SystemExit(f"{name} takes no plate")
                ways["plate"] = of_call(others.example, count)
            report(name, ways, options.rounds)


def report(name: str, ways: dict[str, Way], rounds: int) -> None:
    taken = [{way: run() for way, run in ways.items()} for _ in range(rounds)]
    means = {way: mean_of(weights) for way, (weights, _) in taken[0].items()}
    for way, (mean, error) in means.items():
        if abs(mean - means["vmap"][0]) > 5 * (error + means["vmap"][1]):
            raise SystemExit(f"{name}: {means['vmap']} by vmap, {(mean, error)} by {way}")
    seconds = {way: statistics.median(t[way][1] for t in taken) for way in ways}

    def column(way: str) -> str:
        if way not in seconds:
            return "-"
        ratio = statistics.median(t[way][1] / t["vmap"][1] for t in taken)
        return f"{seconds[way]:.2f} s ({ratio:.1f})"

    print(
        f"{name:30s}{column('plate'):>16s}{seconds['vmap']:>7.2f} s{column('one by one'):>18s}"
        f"{column('Pyro'):>20s}",
        flush=True,
    )


def mean_of(log_weights: Tensor) -> tuple[float, float]:
    """The mean log-weight, and its standard error."""
    weights = log_weights.double()
    return float(weights.mean()), float(weights.std() / len(weights) ** 0.5)


if __name__ == "__main__":
    main()
