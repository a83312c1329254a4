"""How often do the 95% intervals of log-evidences with global latents hold the truth, and how wide are
they?

Forty-two programs: regressions, hierarchies, change points, state spaces, mixtures. The references are
closed forms and quadratures in float64; for three regressions a run of SMC with 40 times the particles,
which bridge sampling with 20,000 draws must agree with. The methods: importance sampling from a Laplace
approximation (K = 4,000); annealing (100 chains, 200 temperatures) and SMC (K = 500) from the prior;
bridge sampling from 1,000 draws of four chains of Hamiltonian Monte Carlo, whose time does not count;
`Auto(seconds=30)` on the model alone, where the processor's seconds count: other work on the machine
does not change the table. Set `OMP_NUM_THREADS=1`, or two threads count twice.

    python benchmarks/evidence_of_globals.py run results.jsonl [--shard 0/2] [--methods smc ...]
        [--only NAME ...]
    python benchmarks/evidence_of_globals.py table results.jsonl [...]

A run appends a line for each estimate, and leaves out those that are there.
"""

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from global_evidence import hierarchies, later, published, regressions, series
from global_evidence.case import CASES, Case
from torch import Tensor

from pyro_vae import InputError, log_evidence
from pyro_vae.inference import SMC, Annealed, Auto, Bridge
from pyro_vae.inference.annealing.hmc import Sampler
from pyro_vae.inference.annealing.paths import FromPrior
from pyro_vae.inference.annealing.tempering import temper
from pyro_vae.inference.evidence.method import Estimator, Workload
from pyro_vae.inference.evidence.smc import fixed_by_pilot
from pyro_vae.inference.evidence.tiles import open_tiles
from pyro_vae.inference.evidence.trial import joint_estimator
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.prior_guide import with_prior_as_guide

assert hierarchies
assert later
assert published
assert regressions
assert series
NUM_CHAINS, LENGTH = 4, 250  # of one estimate by a bridge


@dataclass(frozen=True)
class AutoByProcessor(Auto):
    """Read the processor's clock, which stands still while other processes work."""

    def estimator(self, example: BoundProgram, work: Workload) -> Estimator:
        return joint_estimator(self, example, work, time.process_time)


METHODS: dict[str, tuple[Any, int | None]] = {
    "importance": (Annealed(1, start="laplace"), 4000),
    "ais": (Annealed(200, start="prior", num_leapfrog=5), 100),
    "smc": (SMC(start="prior"), 500),
    "auto": (AutoByProcessor(seconds=30), None),
}


def chains(case: Case, seeds: int) -> dict[str, Tensor]:
    """Draw chains of the posterior, ``seeds, chains, length | plates | event``, all at once."""
    program = with_prior_as_guide(case.model)
    with open_tiles(program, args=case.args, seed=0) as tiles:
        sampler = Sampler(FromPrior(tiles[0]), 5, 10_000)
        sampler, plan = fixed_by_pilot(sampler, 512, lambda share: None)
        count = seeds * NUM_CHAINS
        state = temper(sampler, plan, max(512, count), moves_at_end=True).state
        state = state.first(count)
        places = []
        for _ in range(LENGTH):
            state, _ = sampler.transition(state, 1.0, plan.stages[-1].step_size)
            places.append(state.u)
        u = torch.stack(places, 1).flatten(0, 1)  # (chains x length, 1, D)
        structure = tiles[0].structure
        latents = FromPrior(tiles[0]).latents(u, 1000)
        _, model = tiles[0].one()
    result = {}
    for name in structure.latents:
        if name in latents:
            own = model.nodes[name]["value"].shape
            result[name] = latents[name].reshape(seeds, NUM_CHAINS * LENGTH, *own)
    return result


def estimate(case: Case, method: Any, num_particles: int | None, seed: int) -> dict[str, Any]:
    began = time.process_time()
    try:
        evidence = log_evidence(
            case.model, args=case.args, method=method, num_particles=num_particles, seed=seed
        )
        figure, error = float(evidence.log_evidence), float(evidence.standard_error)
    except InputError:
        figure, error = math.nan, math.nan
    return {"figure": figure, "error": error, "seconds": time.process_time() - began}


def run(path: Path, names: Iterable[str], seeds: int, methods: Iterable[str]) -> None:
    done = {(r["program"], r["method"], r["seed"]) for r in records([path])}
    for name in names:
        case, drawn = CASES[name], None

        def write(method: str, seed: int, record: dict[str, Any], name: str = name) -> None:
            with path.open("a") as file:
                key = {"program": name, "method": method, "seed": seed}
                file.write(json.dumps(key | record) + "\n")

        for method in [method for method in METHODS if method in methods]:
            options, num_particles = METHODS[method]
            for seed in range(seeds):
                if (name, method, seed) not in done:
                    write(method, seed, estimate(case, options, num_particles, seed))
        if "bridge" in methods and (name, "bridge", seeds - 1) not in done:
            drawn = chains(case, seeds)
            for seed in range(seeds):
                bridge = Bridge({n: value[seed] for n, value in drawn.items()}, NUM_CHAINS)
                write("bridge", seed, estimate(case, bridge, None, seed))
        if case.exact is None and (name, "long smc", 0) not in done:
            write("long smc", 0, estimate(case, SMC(start="prior"), 20_000, 1000))
            drawn = drawn or chains(case, seeds)
            bridge = Bridge({n: v.flatten(0, 1) for n, v in drawn.items()}, NUM_CHAINS * seeds)
            write("long bridge", 0, estimate(case, bridge, 20_000, 1000))
        print(name, flush=True)


def records(paths: Iterable[Path]) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in paths
        if path.exists()
        for line in path.read_text().splitlines()
    ]


def table(paths: Iterable[Path]) -> None:
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    once = {(r["program"], r["method"], r["seed"]): r for r in records(paths)}
    for record in once.values():
        found[record["program"], record["method"]].append(record)
    names = [
        name
        for name, case in CASES.items()
        if (name, "smc") in found and (case.exact is not None or (name, "long smc") in found)
    ]
    methods = [*METHODS, "bridge"]
    totals = {method: [0, 0] for method in methods}
    print(f"| program | reference | {' | '.join(methods)} |")
    print("|---|---|" + "---|" * len(methods))
    for name in names:
        exact, how = CASES[name].exact, ""
        if exact is None:
            long, other = found[name, "long smc"][0], found[name, "long bridge"][0]
            exact, how = long["figure"], " (long)"
            apart = abs(long["figure"] - other["figure"])
            assert apart < 4 * math.hypot(long["error"], other["error"]), name
        cells = []
        for method in methods:
            rows = found[name, method]
            printed = [r for r in rows if math.isfinite(r["error"])]
            held = [r for r in printed if abs(r["figure"] - exact) <= 1.96 * r["error"]]
            totals[method][0] += len(held)
            totals[method][1] += len(printed)
            if not printed:
                cells.append(f"none of {len(rows)}")
                continue
            worst = max(abs(r["figure"] - exact) / r["error"] for r in printed)
            error, seconds = (median(r[k] for r in printed) for k in ("error", "seconds"))
            cells.append(
                f"{len(held)} of {len(printed)}; {error:.3f}; {worst:.1f}; {seconds:.1f} s"
            )
        print(f"| {name} | {exact:.3f}{how} | {' | '.join(cells)} |")
    shares = [f"{held / max(printed, 1):.1%} of {printed}" for held, printed in totals.values()]
    print(f"| all | | {' | '.join(shares)} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--shard", default="0/1", help="which of how many parts of the programs")
    every = [*METHODS, "bridge"]
    parser.add_argument("--methods", nargs="+", choices=every, default=every)
    parser.add_argument("--only", nargs="*", choices=[*CASES])
    options = parser.parse_args()
    if options.what == "table":
        table(options.paths)
        return
    part, parts = map(int, options.shard.split("/"))
    names = list(options.only or CASES)
    run(options.paths[0], names[part::parts], options.seeds, options.methods)


if __name__ == "__main__":
    main()
