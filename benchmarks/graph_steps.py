"""What is saved in a step that runs as a graph, without Inductor, for small models.

Each of the first models (`benchmarks/first_models`) is captured as `fit` does it. A graph as it was traced,
one without repeated operations, copies, long views and constants, and one that also leaves out the checks
of values, as from the second epoch on, run in turns: how much of the first one's processor time do the
others take?

    OMP_NUM_THREADS=1 python benchmarks/graph_steps.py [--rounds 5] [--steps 15]
"""

import argparse
import copy
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any
from unittest import mock

import pyro
import torch
from first_models.stories import STORIES, Story

from pyro_vae import fit
from pyro_vae.inference.compiling.fx_capture import CapturedGraph
from pyro_vae.inference.compiling.simplification import simplified
from pyro_vae.inference.svi import step_graph
from pyro_vae.inference.svi.run_control import RunControl


class Captured(Exception):
    """Stop a fit that has captured its step."""


def captured(story: Story) -> tuple[CapturedGraph, tuple[Any, ...]]:
    """Return the graph of a model's step as it was traced, and its arguments."""
    found: list[Any] = []
    capture = step_graph.capture

    def keep(function: Callable[..., Any], *arguments: torch.Tensor) -> None:
        found.extend((capture(function, *arguments), arguments))
        raise Captured

    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    args = story.draw()
    data = {"args": args} if story.is_series else {"data": args if len(args) > 1 else args[0]}
    try:
        with mock.patch.object(step_graph, "capture", keep):
            control = RunControl(steps_worth_a_graph=1)
            fit(story.model, **data, epochs=1, control=control, progress=False, device="cpu")
    except Captured:
        pass
    graph, arguments = found
    return graph, arguments


def milliseconds(graph: CapturedGraph, arguments: tuple[Any, ...], steps: int) -> float:
    """Return the processor time of a step: the lower quartile."""
    times = []
    for _ in range(steps):
        started = time.thread_time()
        graph.module(*graph.tensors, *arguments)
        times.append(time.thread_time() - started)
    return 1e3 * sorted(times)[steps // 4]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=15)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'model':34} {'operations':>16}    ms   simplified   no checks either")
    for story in STORIES:
        traced, arguments = captured(story)
        shorter = simplified(replace(traced, module=copy.deepcopy(traced.module)))
        last = replace(shorter, module=step_graph.without_checks(shorter.module))
        graphs = (traced, shorter, last)
        with torch.no_grad():
            rounds = [
                [milliseconds(graph, arguments, options.steps) for graph in graphs]
                for _ in range(options.rounds)
            ]
        sizes = " / ".join(str(len(each.module.graph.nodes)) for each in graphs)
        first, *shares = (median(r[i] / r[0] if i else r[0] for r in rounds) for i in range(3))
        print(f"{story.name:34} {sizes:>16} {first:5.1f} {shares[0]:12.2f} {shares[1]:18.2f}")


if __name__ == "__main__":
    main()
