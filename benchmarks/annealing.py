"""What annealing costs by the program, as the graph that it becomes, and compiled by Inductor.

They take turns; processor seconds of one thread, and how many times as fast as the program. Tracing and
compiling are in the figures, with Inductor's cache full. All must give the same evidence.

    python benchmarks/annealing.py [--rounds 3]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, Literal
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


HOW: dict[str, tuple[int, Literal["on", "off"]]] = {
    "by the program": (NEVER, "off"),
    "as a graph": (graph_cache.CALLS_WORTH_A_GRAPH, "off"),
    "compiled": (graph_cache.CALLS_WORTH_A_GRAPH, "on"),
}


def run(
    model: Any,
    x: Tensor,
    temperatures: int,
    how: str,
    clock: Callable[[], float] = time.process_time,
) -> tuple[float, float]:
    """Seconds, by the clock, and the mean evidence."""
    method, (worth, compile) = Annealed(num_temperatures=temperatures), HOW[how]
    with mock.patch.object(graph_cache, "CALLS_WORTH_A_GRAPH", worth):
        started = clock()
        mean = log_evidence(model, x, method=method, num_particles=16, seed=0, compile=compile).mean
        return clock() - started, mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'':40s}{'temperatures':>12s}" + "".join(f"{how:>24s}" for how in HOW))
    for name, (model, x, temperatures) in cases().items():
        run(model, x, temperatures, "compiled")  # Inductor's cache is full, as after a first run
        runs = [[run(model, x, temperatures, how) for how in HOW] for _ in range(args.rounds)]
        for row in runs:
            means = [mean for _, mean in row]
            if max(means) - min(means) > 1e-3 * max(1.0, abs(means[0])):
                raise SystemExit(f"{name}: {means}")
        cells = []
        for taken in zip(*([seconds for seconds, _ in row] for row in runs), strict=True):
            ratios = [row[0][0] / t for row, t in zip(runs, taken, strict=True)]
            cells.append(f"{statistics.median(taken):.1f} s ({statistics.median(ratios):.2f})")
        print(f"{name:40s}{temperatures:12,}" + "".join(f"{c:>24s}" for c in cells), flush=True)


if __name__ == "__main__":
    main()
