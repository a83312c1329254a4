"""How often do the 95% intervals of log-evidences hold the truth, and how wide are they?

Weights of which the truth is known, 1,000 repeats each: a Normal guide of variance 1 - k under a standard
Normal target, whose weights have a tail of index k; and log-normal weights, as annealing's nearly are.
For each: the share of repeats in which an interval is printed; how many of those hold; how many of all
repeats print one that does not; the median width of those printed, by the central 95% range of the
estimates; and, of all repeats, how many intervals by the delta method would hold.

    python benchmarks/coverage.py [--repeats 1000] [--num_particles 16 100 300 1000 10000] [--seed 0]
"""

import argparse
import math

import torch
from torch import Tensor

from pyro_vae.inference.evidence.weights import WeightSums

TAILS = (0.3, 0.5, 0.6, 0.7, 0.9)
SPREADS = (0.1, 0.5, 1.0, 1.5, 3.0)
CHUNK = 512


def log_weights(
    kind: str, value: float, shape: tuple[int, int], generator: torch.Generator
) -> Tensor:
    e = torch.randn(shape, generator=generator, dtype=torch.float64)
    if kind == "k":
        return math.log1p(-value) / 2 + value * e.square() / 2
    return value * e - value**2 / 2


def row(kind: str, value: float, num_particles: int, repeats: int, seed: int) -> str:
    generator = torch.Generator().manual_seed(seed)
    sums = WeightSums(num_particles, repeats)
    for first in range(0, num_particles, CHUNK):
        shape = min(CHUNK, num_particles - first), repeats
        sums.add(log_weights(kind, value, shape, generator))
    figure, error = sums.log_mean(), sums.standard_error()
    delta = ((num_particles / sums.ess() - 1) / (num_particles - 1)).sqrt()
    printed, holds = error.isfinite(), figure.abs() <= 1.96 * error
    width = 2 * 1.96 * error[printed].median() / (figure.quantile(0.975) - figure.quantile(0.025))
    shares = (
        printed.double().mean(),
        holds.sum() / printed.sum(),
        (printed & ~holds).double().mean(),
    )
    by_delta = (figure.abs() <= 1.96 * delta).double().mean()
    cells = [f"{share:.1%}" if share.isfinite() else "-" for share in shares]
    cells += [f"{width:.2f}" if width.isfinite() else "-", f"{by_delta:.1%}"]
    return f"| {kind} = {value:g} | {num_particles:,} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument(
        "--num_particles", type=int, nargs="+", default=[16, 100, 300, 1000, 10_000]
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print("| weights | K | printed | of those, hold | wrong ones | width | delta method holds |")
    print("|---|---|---|---|---|---|---|")
    for kind, values in (("k", TAILS), ("log-normal", SPREADS)):
        for value in values:
            for num_particles in args.num_particles:
                print(row(kind, value, num_particles, args.repeats, args.seed), flush=True)


if __name__ == "__main__":
    main()
