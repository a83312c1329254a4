"""The three verbs on one case, each figure held against Pyro's."""

import contextlib
import io
import math
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from pyro_cases.case import Case
from pyro_cases.peer import SEED, Peer, edges_by_pyro, log_mean_exp, moves
from pyro_vae import InputError, fit, log_evidence, render_model
from pyro_vae.inference.evidence.estimate import ONE_BY_ONE
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.inference.svi.fit_result import FitResult
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.program.generators import rng_state, set_rng_state

EPOCHS, PARTICLES = 30, 500
# a graph however short the run, but nothing of Inductor, which takes half a minute a program
GRAPHS = RunControl(steps_worth_a_graph=0, steps_worth_inductor=10**9)
SECONDS = 60  # that a verb may take
ROUNDING = 1e-5  # of float32, in sums of some thousand terms
ERRORS = 4.0  # standard errors that two estimates of one number may lie apart
GRAPH = re.compile("run as a graph|run compiled")
SHOWN = ("latent", "observed", "partially_observed", "factor")  # nodes that Pyro's relations know


class TooLong(BaseException):
    """A verb took longer than it may; no `except Exception` on the way stops it."""


@dataclass
class Result:
    """One case's row: a word a verb, and the sentences behind the words."""

    name: str
    diagram: str = ""
    fit: str = ""
    loss: str = ""
    evidence: str = ""
    wrong: list[str] = field(default_factory=list)  # figures that differ, and crashes
    said: dict[str, str] = field(default_factory=dict)  # sentences, by verb
    seconds: dict[str, float] = field(default_factory=dict)  # by verb, without Pyro's part


def try_out(case: Case) -> Result:
    """Draws, fits and weighs a case, and holds each figure against Pyro's; in silence."""
    with contextlib.redirect_stdout(io.StringIO()):
        trial = Trial(case)
        trial.draw()
        try:
            peer = Peer(case)
        except Exception as error:
            trial.result.said["fit"] = f"Pyro cannot run it: {first_line(error)}"
            return trial.result
        trial.train(peer)
        trial.weigh(peer)
        return trial.result


class Trial:
    """One case under way."""

    def __init__(self, case: Case) -> None:
        self.case, self.result = case, Result(case.name)

    def attempt(self, column: str, verb: Callable[[], Any]) -> Any:
        """What a verb returns; None where it refuses, crashes (which is a fault) or takes too long."""
        before, started = rng_state(), time.monotonic()
        try:
            with at_most(SECONDS):
                return verb()
        except InputError as error:
            setattr(self.result, column, "refused")
            self.result.said[column] = str(error)
        except TooLong:
            setattr(self.result, column, f"> {SECONDS} s")
        except Exception as error:
            setattr(self.result, column, "**crash**")
            self.result.wrong.append(f"{column}: {first_line(error)}")
        finally:
            set_rng_state(before)
            self.result.seconds[column] = time.monotonic() - started
        return None

    def draw(self) -> None:
        case, result = self.case, self.result
        drawn = self.attempt("diagram", lambda: render_model(case.program, case.args, case.kwargs))
        if drawn is None:
            return
        # what a reparameteriser has computed: Pyro looks through it
        nodes = tuple(
            replace(node, kind="deterministic")
            if (node.kind, node.distribution) == ("observed", "Delta")
            else node
            for node in drawn.model.nodes
        )
        graph = replace(drawn.model, nodes=nodes).without("deterministic")
        shown, edges = {n.name for n in graph.nodes if n.kind in SHOWN}, graph.edges
        ours = {(e.source, e.target) for e in edges if {e.source, e.target} <= shown}
        result.diagram = str(len(ours))
        try:
            theirs = edges_by_pyro(case, shown)
            lacking = sorted(pair for pair in theirs - ours if moves(case, pair))
        except Exception as error:
            result.diagram += f" (Pyro's: {type(error).__name__})"
            return
        if theirs != ours:
            result.diagram += f" (Pyro's {len(theirs)})"
        if lacking:
            pairs = ", ".join(f"{a} -> {b}" for a, b in lacking[:3])
            result.wrong.append(f"diagram: {len(lacking)} of Pyro's edges are not there: {pairs}")

    def train(self, peer: Peer) -> None:
        case, result = self.case, self.result
        expected = refusal = None
        try:
            expected = peer.elbo(case.args)
        except Exception as error:
            refusal = f"(Pyro's: {type(error).__name__})"
        done: FitResult | None = self.attempt("fit", self.fitted)
        if done is None:
            return
        result.fit = "Python" if any("in Python" in note for note in done.notes) else "graph"
        if notes := [note for note in done.notes if not GRAPH.search(note)]:
            result.said["fit"] = "; ".join(notes)
        name = next(n for n in done.metrics[0] if n.startswith("train_"))
        elbo = float(done.metrics[0][name])
        if expected is None:
            result.loss = f"{elbo:.6g} {refusal}"
        elif any(close(elbo * units, expected) for units in peer.units()):
            result.loss = "="
        else:
            result.loss = f"**{elbo:.6g}**"
            result.wrong.append(f"fit: {name} {elbo:.7g}, Pyro's of the whole {expected:.7g}")

    def fitted(self) -> FitResult:
        case, args = self.case, self.case.args
        given: dict[str, Any] = {"args": args, "kwargs": case.kwargs}
        if case.rows:
            given = {"data": args if len(args) > 1 else args[0], "batch_size": len(args[0])}
            given |= {} if case.ordered else {"shuffle": False}  # rows with a place keep it unasked
        return fit(
            case.program, **given, epochs=EPOCHS, seed=SEED, optimizer=partial(Adam, lr=3e-3),
            elbo=case.elbo() if case.elbo else None, device="cpu", progress=False, compile="auto",
            control=GRAPHS,
        )  # fmt: skip

    def weigh(self, peer: Peer) -> None:
        ours: Evidence | None = self.attempt("evidence", self.weighed)
        if ours is None:
            return
        error = ours.standard_error.square().sum().sqrt()
        reliable = bool((ours.pareto_k < 0.7).all() and error.isfinite()) or ours.is_exact
        words = [f"{ours.total:.6g}" + (f" ± {float(error):.2g}" if reliable else " (k > 0.7)")]
        words += ["joint"] * (ours.unit is None) + ["one by one"] * (ONE_BY_ONE in ours.notes)
        self.result.evidence = ", ".join(words)
        told = (ONE_BY_ONE, "one joint figure")
        if notes := [note for note in ours.notes if not note.startswith(told)]:
            self.result.said["evidence"] = "; ".join(notes)
        try:
            weights = peer.weights(ours.unit)  # draw | unit
        except Exception as failed:
            self.result.evidence += f" (Pyro's: {type(failed).__name__})"
            return
        total = weights.sum(1)
        if 1 in ours.bounds:
            bound, spread = ours.bounds[1].sum(), ours.bounds_error[1].square().sum().sqrt()
            mean, other = total.mean(), total.std() / math.sqrt(len(total))
            self.compare("ELBO of the evidence", (bound, spread), (mean, other))
        if reliable:
            self.compare("evidence", (torch.tensor(ours.total), error), log_mean_exp(weights))

    def weighed(self) -> Evidence:
        case = self.case
        given: dict[str, Any] = {"args": case.args, "kwargs": case.kwargs}
        if case.rows:
            given = {"data": case.args if len(case.args) > 1 else case.args[0]}
        return log_evidence(
            case.program, **given, num_particles=PARTICLES, seed=SEED, device="cpu", progress=False
        )

    def compare(
        self, name: str, ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]
    ) -> None:
        """Two estimates of one number, with their standard errors."""
        (mine, error), (other, spread) = [[float(v) for v in pair] for pair in (ours, theirs)]
        allowed = ERRORS * math.hypot(error, spread) + ROUNDING * max(1.0, abs(other))
        if mine != other and not abs(mine - other) <= allowed:
            self.result.evidence = f"**{self.result.evidence.strip('*')}**"
            self.result.wrong.append(
                f"{name} {mine:.6g} ± {error:.2g}, Pyro's {other:.6g} ± {spread:.2g}"
            )


def close(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= ROUNDING * max(1.0, abs(theirs))


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise TooLong after so many seconds of the processor's time, which other work does not stretch."""

    def stop(_: int, __: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
