"""What annealing costs by the program, and as the graph that it becomes.

The two take turns; processor seconds of one thread, each run's. Both must give the same evidence.

    python benchmarks/annealing.py [--rounds 3]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from pyro_vae import log_evidence
from pyro_vae.inference.compiling import graph_cache
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.models import VAE, FactorAnalysis

NEVER = 10**9  # calls


def cases() -> dict[str, tuple[Any, Tensor, int]]:
    """Model, data, temperatures."""
    torch.manual_seed(0)
    rows, images = torch.randn(100, 6), torch.rand(64, 1, 28, 28).round()
    factors, vae = FactorAnalysis((6,), 2), VAE((1, 28, 28), 50)
    return {
        "factor analysis, 6 values, 64 data": (factors, rows[:64], 1000),
        "factor analysis, 6 values, 100 data": (factors, rows, 100),
        "VAE of 784 pixels, 64 data": (vae, images, 20),
        "VAE of 784 pixels, 16 data": (vae, images[:16], 200),
    }


def run(
    model: Any,
    x: Tensor,
    temperatures: int,
    worth_a_graph: int,
    clock: Callable[[], float] = time.process_time,
) -> tuple[float, float]:
    """Seconds, by the clock, and the mean evidence."""
    method = Annealed(num_temperatures=temperatures)
    with mock.patch.object(graph_cache, "CALLS_WORTH_A_GRAPH", worth_a_graph):
        started = clock()
        mean = log_evidence(model, x, method=method, num_particles=16, seed=0).mean
        return clock() - started, mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    usual = graph_cache.CALLS_WORTH_A_GRAPH
    print(f"{'':40s}{'temperatures':>12s}{'by the program':>18s}{'as a graph':>14s}{'ratio':>8s}")
    for name, (model, x, temperatures) in cases().items():
        runs = [
            [run(model, x, temperatures, w) for w in (NEVER, usual)] for _ in range(args.rounds)
        ]
        for (_, one), (_, other) in runs:
            if abs(one - other) > 1e-3 * max(1.0, abs(one)):
                raise SystemExit(f"{name}: {one} by the program, {other} as a graph")
        program, graph, ratio = (
            statistics.median(values)
            for values in zip(*((p, g, p / g) for (p, _), (g, _) in runs), strict=True)
        )
        print(
            f"{name:40s}{temperatures:12,}{program:16.1f} s{graph:12.1f} s{ratio:8.2f}", flush=True
        )


if __name__ == "__main__":
    main()
