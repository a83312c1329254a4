"""The three verbs on one case, and Pyro's own figures to hold theirs against."""

import inspect
import math
import re
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from pyro.infer.inspect import get_model_relations
from torch import Tensor
from torch.optim import Adam

from pyro_cases.case import Case
from pyro_vae import InputError, fit, log_evidence, render_model
from pyro_vae.inference.estimate import ONE_BY_ONE
from pyro_vae.inference.loop import order
from pyro_vae.isolation import rng_state, set_rng_state, undisturbed
from pyro_vae.program import Program, as_program

SEED, EPOCHS, PARTICLES, DRAWS = 0, 100, 1000, 200
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
    fit: str = ""
    loss: str = ""
    evidence: str = ""
    diagram: str = ""
    wrong: list[str] = field(default_factory=list)  # figures that differ, and crashes
    said: dict[str, str] = field(default_factory=dict)  # sentences, by verb


def try_out(case: Case) -> Result:
    """Draws, fits and weighs a case, and holds each figure against Pyro's."""
    trial = Trial(case)
    for verb in (trial.draw, trial.train, trial.weigh):
        trial.attempt(verb)
    return trial.result


class Trial:
    """One case under way."""

    def __init__(self, case: Case) -> None:
        self.case, self.program, self.result = case, as_program(case.program), Result(case.name)

    def attempt(self, verb: Callable[[], None]) -> None:
        """Runs a verb; whatever leaves it other than by InputError is a fault."""
        column = {"draw": "diagram", "train": "fit", "weigh": "evidence"}[verb.__name__]
        before = rng_state()
        try:
            with at_most(SECONDS):
                verb()
        except InputError as error:
            setattr(self.result, column, "refused")
            self.result.said[column] = str(error)
        except TooLong:
            setattr(self.result, column, f"> {SECONDS} s")
        except Exception as error:
            setattr(self.result, column, "**crash**")
            lines = str(error).strip().splitlines() or [""]
            self.result.wrong.append(f"{column}: {type(error).__name__}: {lines[0][:200]}")
        finally:
            set_rng_state(before)

    # --- the diagram ----------------------------------------------------------------------

    def draw(self) -> None:
        case, result = self.case, self.result
        graph = render_model(case.program, case.args, case.kwargs).model
        shown = {n.name for n in graph.nodes if n.kind in SHOWN}
        graph = graph.without("deterministic")
        ours = {(e.source, e.target) for e in graph.edges if {e.source, e.target} <= shown}
        result.diagram = str(len(ours))
        try:
            with undisturbed(self.program, SEED):
                relations = get_model_relations(self.program.model, case.args, dict(case.kwargs))
        except Exception as error:
            result.diagram += f" (Pyro's: {type(error).__name__})"
            return
        theirs = {
            (source, target)
            for target, sources in relations["sample_sample"].items()
            for source in sources
            if {source, target} <= shown
        }
        lacking, more = theirs - ours, ours - theirs
        if lacking or more:
            result.diagram = f"{len(ours)} (Pyro's {len(theirs)})"
        if lacking:
            pairs = ", ".join(f"{a} -> {b}" for a, b in sorted(lacking)[:3])
            result.wrong.append(f"diagram: {len(lacking)} edges of Pyro's lack: {pairs}")

    # --- fit ------------------------------------------------------------------------------

    def train(self) -> None:
        case, result = self.case, self.result
        self.register()
        expected = {"same order": self.pyro_elbo(case.args)}
        if case.rows and not case.ordered:
            shuffled = order(len(case.args[0]), SEED, 0)
            expected["shuffled"] = self.pyro_elbo(tuple(a[shuffled] for a in case.args))
        done = fit(
            case.program, **self.handed_over(), epochs=EPOCHS, seed=SEED, device="cpu", progress=False,
            optimizer=partial(Adam, lr=0.01), elbo=case.elbo() if case.elbo else None, compile="auto",
        )  # fmt: skip
        result.fit = "Python" if any("in Python" in note for note in done.notes) else "graph"
        notes = [note for note in done.notes if not GRAPH.search(note)]
        if notes:
            result.said["fit"] = "; ".join(notes)
        name = next(n for n in done.metrics[0] if n.startswith("train_"))
        elbo = float(done.metrics[0][name])
        units = {1, *(len(a) for a in case.args if isinstance(a, Tensor) and a.dim())} | {
            frame.size
            for frame in self.frames
            if frame.size > 0  # Pyro has -1 for a plate without a size
        }
        for how, figure in expected.items():
            if any(close(elbo * n, figure) for n in units):
                result.loss = "=" if how == "same order" else f"= {how}"
                break
        else:
            ratio = elbo / expected["same order"] if expected["same order"] else math.nan
            result.loss = f"**{elbo:.6g}**"
            shown = ", ".join(f"{figure:.7g} ({how})" for how, figure in expected.items())
            result.wrong.append(f"fit: {name} {elbo:.7g}, Pyro's whole {shown}; ratio {ratio:.5g}")

    def handed_over(self) -> dict[str, Any]:
        """The arguments as `fit` takes them."""
        args, kwargs = self.case.args, self.case.kwargs
        if self.case.rows:
            data = args if len(args) > 1 else args[0]
            return {"data": data, "batch_size": len(args[0])}
        if "args" in inspect.signature(fit).parameters:
            return {"args": args, "kwargs": kwargs}
        raise InputError("`fit` takes no `args=`")

    def register(self) -> None:
        """Runs guide and model once, so that every parameter has its first value; reads the plates."""
        case = self.case
        pyro.set_rng_seed(SEED)
        guide = poutine.trace(self.program.guide).get_trace(*case.args, **case.kwargs)
        replayed = poutine.replay(self.program.model, guide)
        model = poutine.trace(replayed).get_trace(*case.args, **case.kwargs)
        sites = {
            part: [s for s in trace.nodes.values() if s["type"] == "sample"]
            for part, trace in (("guide", guide), ("model", model))
        }
        both = [*sites["guide"], *sites["model"]]
        self.frames = {f for s in both for f in s["cond_indep_stack"] if f.vectorized}
        self.marked = {p: any(s["infer"].get("enumerate") for s in sites[p]) for p in sites}

    def pyro_elbo(self, args: tuple[Any, ...]) -> float:
        """Pyro's ELBO of the whole call at the first parameters, with the noise of SEED."""
        loss = self.elbo()
        pyro.set_rng_seed(SEED)
        loss = getattr(loss, "differentiable_loss", loss.loss)
        return -float(loss(self.program.model, self.program.guide, *args, **self.case.kwargs))

    def elbo(self) -> Any:
        if self.case.elbo is not None:
            return self.case.elbo()
        nesting = max((-frame.dim for frame in self.frames), default=0)
        kind = TraceEnum_ELBO if any(self.marked.values()) else Trace_ELBO
        return kind(max_plate_nesting=nesting)

    # --- log_evidence ---------------------------------------------------------------------

    def weigh(self) -> None:
        case, result = self.case, self.result
        how: dict[str, Any] = {"args": case.args, "kwargs": case.kwargs}
        if case.rows:
            how = {"data": case.args if len(case.args) > 1 else case.args[0]}
        ours = log_evidence(
            case.program, **how, num_particles=PARTICLES, seed=SEED, device="cpu", progress=False
        )  # fmt: skip
        result.evidence = f"{ours.total:.6g}"
        marks = (("joint", ours.unit is None), ("one by one", ONE_BY_ONE in ours.notes))
        notes = [n for n in ours.notes if n != ONE_BY_ONE and not n.startswith("one joint figure")]
        if notes:
            result.said["evidence"] = "; ".join(notes)
        weights = self.pyro_weights(ours.unit)  # draw | unit
        total = weights.sum(1)
        elbo, elbo_error = total.mean(), total.std() / math.sqrt(len(total))
        if 1 in ours.bounds:
            bound, error = ours.bounds[1].sum(), ours.bounds_error[1].square().sum().sqrt()
            self.compare("ELBO of the evidence", bound, error, elbo, elbo_error)
        figure, error = log_mean_exp(weights)
        mine = ours.standard_error.square().sum().sqrt()
        reliable = bool((ours.pareto_k < 0.7).all()) and bool(mine.isfinite())
        if ours.is_exact or reliable:
            result.evidence += f" ± {float(mine):.2g}"
            self.compare("evidence", torch.tensor(ours.total), mine, figure, error)
        else:
            result.evidence += " (k > 0.7)"
        result.evidence = ", ".join([result.evidence, *(word for word, holds in marks if holds)])

    def compare(
        self, name: str, ours: Tensor, error: Tensor, theirs: Tensor, other: Tensor
    ) -> None:
        off, spread = abs(float(ours - theirs)), math.hypot(float(error), float(other))
        if not off <= ERRORS * spread + ROUNDING * max(1.0, abs(float(theirs))):
            self.result.wrong.append(
                f"{name} {float(ours):.6g} ± {float(error):.2g}, Pyro's {float(theirs):.6g} ± "
                f"{float(other):.2g}"
            )
            self.result.evidence = f"**{self.result.evidence.strip('*')}**"

    def pyro_weights(self, unit: str | None) -> Tensor:
        """log p(x, z) - log q(z) of DRAWS runs, ``draw | unit``, as Pyro's traces give it.

        Where the model's own discrete latents are summed out, by TraceEnum_ELBO, which has one figure
        for all units.
        """
        model, guide, case = self.program.model, self.program.guide, self.case
        weights: list[Tensor] = []
        with undisturbed(self.program, SEED):
            for _ in range(DRAWS):
                if self.marked["model"] and not self.marked["guide"]:
                    loss = TraceEnum_ELBO(max_plate_nesting=self.elbo().max_plate_nesting).loss
                    weights.append(-torch.tensor([loss(model, guide, *case.args, **case.kwargs)]))
                    continue
                q = poutine.trace(guide).get_trace(*case.args, **case.kwargs)
                p = poutine.trace(poutine.replay(model, q)).get_trace(*case.args, **case.kwargs)
                weights.append(per_unit(p, unit) - per_unit(q, unit))
        return torch.stack(weights).double()


def per_unit(trace: poutine.Trace, unit: str | None) -> Tensor:
    """A run's log-probability for each unit, ``unit |``; of length 1 without a unit."""
    trace.compute_log_prob()
    sums: Any = torch.zeros(1)
    for site in trace.nodes.values():
        if site["type"] != "sample":
            continue
        dim = next((f.dim for f in site["cond_indep_stack"] if f.name == unit), None)
        values: Tensor = site["unscaled_log_prob"].detach()
        if dim is None:
            sums = sums + values.sum()
        else:
            sums = sums + values.movedim(dim, 0).reshape(values.shape[dim], -1).sum(1)
    return sums


def log_mean_exp(weights: Tensor) -> tuple[Tensor, Tensor]:
    """log-mean-exp over the draws of ``draw | unit``, summed over units, and its standard error."""
    top = weights.max(0).values
    ratio = (weights - top).exp()
    figure = top + ratio.mean(0).log()
    error = ratio.std(0) / ratio.mean(0) / math.sqrt(len(weights))
    return figure.sum(), error.square().sum().sqrt()


def close(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= ROUNDING * max(1.0, abs(theirs))


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    def stop(_: int, __: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
