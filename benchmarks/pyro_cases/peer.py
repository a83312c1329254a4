"""What Pyro itself says of a case: its loss, the weights of its traces, how its sites depend."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions import Unit
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from pyro.infer.inspect import get_model_relations
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyro_cases.case import Case
from pyro_vae.program.contract import as_program
from pyro_vae.program.isolation import undisturbed

SEED, DRAWS = 0, 200
Pair = tuple[str, str]


class Peer:
    """Pyro's figures for a case.

    A first run of guide and model gives every parameter its first value, so that all that follows
    starts from the same; and it shows plates and what is marked for enumeration.
    """

    def __init__(self, case: Case) -> None:
        self.case, self.program = case, as_program(case.program)
        pyro.set_rng_seed(SEED)
        self.runs = self.run(self.program.guide, self.program.model)
        sites = [[s for s in run.nodes.values() if s["type"] == "sample"] for run in self.runs]
        both = [*sites[0], *sites[1]]
        self.frames = {f for s in both for f in s["cond_indep_stack"] if f.vectorized}
        self.marked = [any(s["infer"].get("enumerate") for s in part) for part in sites]
        self.max_plate_nesting = max((-frame.dim for frame in self.frames), default=0)

    def run(self, guide: Callable[..., Any], model: Callable[..., Any]) -> list[poutine.Trace]:
        """A trace of the guide and one of the model at the guide's values."""
        if self.case.max_plate_nesting is not None:  # a program that holds only under enumeration
            guide = poutine.enum(guide, first_available_dim=-1 - self.case.max_plate_nesting)
        args, kwargs = self.case.args, self.case.kwargs
        proposed = poutine.trace(guide).get_trace(*args, **kwargs)
        replayed = poutine.replay(model, proposed)
        return [proposed, poutine.trace(replayed).get_trace(*args, **kwargs)]

    # --- the loss -------------------------------------------------------------------------

    def elbo(self, args: tuple[Any, ...]) -> float:
        """Pyro's ELBO of the whole call at the parameters as they are, with the noise of SEED."""
        loss = self.loss()
        pyro.set_rng_seed(SEED)
        loss = getattr(loss, "differentiable_loss", loss.loss)
        value = loss(self.program.model, self.program.guide, *args, **self.case.kwargs)
        return -float(value.detach() if isinstance(value, Tensor) else value)

    def loss(self) -> Any:
        if self.case.elbo is not None:
            return self.case.elbo()
        kind = TraceEnum_ELBO if any(self.marked) else Trace_ELBO
        return kind(max_plate_nesting=self.max_plate_nesting)

    def units(self) -> set[int]:
        """By how many units an ELBO per unit may have been divided."""
        rows = {len(a) for a in self.case.args if isinstance(a, Tensor) and a.dim()}
        sizes = {size for frame in self.frames for size in (frame.size, frame.full_size) if size}
        return {1, *rows, *sizes} - {-1}  # of a plate without a size

    # --- weights --------------------------------------------------------------------------

    def weights(self, unit: str | None) -> Tensor:
        """log p(x, z) - log q(z) of DRAWS runs, ``draw | unit``, as Pyro's traces give it.

        Where the model's own discrete latents are summed out, by TraceEnum_ELBO, which has one figure
        for all units.
        """
        case, (guide_marked, model_marked) = self.case, self.marked
        with undisturbed(self.program, SEED):
            if model_marked and not guide_marked:
                loss = TraceEnum_ELBO(max_plate_nesting=self.max_plate_nesting).loss
                pair = (self.program.model, self.program.guide)
                draws = [-loss(*pair, *case.args, **case.kwargs) for _ in range(DRAWS)]
                return torch.tensor(draws, dtype=torch.float64).unsqueeze(1)
            traces = (self.run(self.program.guide, self.program.model) for _ in range(DRAWS))
            return torch.stack([per_unit(p, unit) - per_unit(proposal(q), unit) for q, p in traces])


def edges_by_pyro(case: Case, shown: Iterable[str]) -> set[Pair]:
    """Pairs of sites, the second of which depends on the first by Pyro's provenance."""
    program = as_program(case.program)
    with undisturbed(program, SEED):
        relations = get_model_relations(program.model, case.args, dict(case.kwargs))
    pairs = {(a, b) for b, sources in relations["sample_sample"].items() for a in sources}
    return {pair for pair in pairs if set(pair) <= set(shown)}


def moves(case: Case, pair: Pair) -> bool:
    """Whether other values of the first site change the second's score, all other sites held.

    Provenance follows shapes and templates, too (`new_zeros`), through which nothing depends.
    """
    source, target = pair
    program, scores = as_program(case.program), []
    with undisturbed(program, SEED):
        trace = poutine.trace(program.model).get_trace(*case.args, **case.kwargs)
        values = {name: trace.nodes[name]["value"] for name in trace.stochastic_nodes}
        for _ in range(4):
            run = poutine.trace(poutine.condition(program.model, values))
            site = run.get_trace(*case.args, **case.kwargs).nodes[target]
            scores.append(site["fn"].log_prob(site["value"]).sum())
            if source in values:
                values[source] = trace.nodes[source]["fn"].sample()
    return any(not torch.allclose(score, scores[0], equal_nan=True) for score in scores)


def proposal(trace: poutine.Trace) -> poutine.Trace:
    """A guide's run without what counts in Pyro's training loss alone.

    That is what it observes, and factors of `has_rsample=False`.
    """
    kept = trace.copy()
    for name, site in trace.nodes.items():
        counts = isinstance(site.get("fn"), Unit) and site["fn"].has_rsample
        if site["type"] == "sample" and site["is_observed"] and not counts:
            kept.remove_node(name)
    return kept


def per_unit(trace: poutine.Trace, unit: str | None) -> Tensor:
    """A run's log-probability for each unit, ``unit |``; of length 1 without a unit."""
    trace.compute_log_prob()
    sums = torch.zeros(1, dtype=torch.float64)
    for site in trace.nodes.values():
        if site["type"] != "sample" or site_is_subsample(site):
            continue
        dim = next((f.dim for f in site["cond_indep_stack"] if f.name == unit), None)
        values = site["unscaled_log_prob"].detach().double()
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
