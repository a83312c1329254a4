"""Bar 8: what a step costs, beside a guide by hand whose network is as large."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import median, quantiles
from typing import Any
from unittest import mock

import pyro
import torch
from torch import Tensor, nn

from guide_gaps.autoguides import MEMBERS, ByHand, model
from pyro_vae import fit
from pyro_vae.guides import AutoAmortized
from pyro_vae.inference.objectives import Landing, Objective, TraceELBO
from pyro_vae.inference.svi.compiled_engine import CompiledEngine
from pyro_vae.inference.svi.run_control import RunControl

ROUNDS, SECONDS, NEVER = 15, 0.3, 10**9
HEAD = ("objective", "groups a batch", "run", "made, ms", "by hand, ms", "ratio (quartiles)")


def rows(batches: Sequence[int]) -> Iterator[list[str]]:
    """Yield a row for each objective, batch size and way to run a step."""
    x = 1 + torch.randn(2 * max(batches), 1) + torch.randn(2 * max(batches), MEMBERS)
    for objective in (TraceELBO, Landing):
        for batch in batches:
            for way, worth in (("as a graph", NEVER), ("by Inductor", 1)):
                made, by_hand = (
                    step(make(), x, batch, objective(), worth)
                    for make in (lambda: AutoAmortized(model, x[:1000]), as_large)
                )
                rounds = [(milliseconds(made), milliseconds(by_hand)) for _ in range(ROUNDS)]
                low, middle, high = quantiles([one / other for one, other in rounds], n=4)
                ours, theirs = (median(each) for each in zip(*rounds, strict=True))
                yield [
                    objective.__name__,
                    f"{batch:,}",
                    way,
                    f"{ours:.2f}",
                    f"{theirs:.2f}",
                    f"{middle:.2f} ({low:.2f} to {high:.2f})",
                ]


def as_large() -> ByHand:
    """Return the guide by hand with a network of the made guide's size."""
    hidden = (nn.Linear(MEMBERS + 2, 200), nn.SiLU(), nn.Linear(200, 200), nn.SiLU())
    return ByHand(nn.Sequential(*hidden, nn.Linear(200, 2)))


def step(
    guide: nn.Module, x: Tensor, batch: int, objective: Objective, worth: int
) -> Callable[[], Any]:
    """Return what computes a step's loss and gradients, as ``fit`` does from the second epoch on."""
    found: list[Callable[[], Any]] = []
    build = CompiledEngine._build

    def keep(engine: CompiledEngine, batch: Any, use_inductor: bool) -> Any:
        graph, kind = build(engine, batch, use_inductor)
        found.append(partial(graph, engine.capture.weight(0.5), batch, False))
        return graph, kind

    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    control = RunControl(steps_worth_a_graph=1, steps_worth_inductor=worth)
    options: dict[str, Any] = {"progress": False, "device": "cpu", "control": control}
    with mock.patch.object(CompiledEngine, "_build", keep):
        fit((model, guide), x, batch_size=batch, epochs=1, elbo=objective, **options)
    return found[0]


def milliseconds(run: Callable[[], Any]) -> float:
    """Return the processor time of a run: the lower quartile."""
    times, end = [], time.thread_time() + SECONDS
    while len(times) < 5 or time.thread_time() < end:
        started = time.thread_time()
        run()
        times.append(time.thread_time() - started)
    return 1e3 * sorted(times)[len(times) // 4]
