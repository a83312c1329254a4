"""Draws of a guide, weighed by plain traces: nothing here is shared with what is under test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor

CHUNK = 400  # particles at a time


@dataclass(frozen=True)
class Draws:
    """Hold draws of a guide: log p(x, z) - log q(z | x), ``draws, units``, and the latents by name."""

    log_weights: Tensor
    values: dict[str, Tensor]


@torch.no_grad()
def draws_of(
    program: tuple[Any, Any], args: Sequence[Tensor], count: int, nesting: int, unit_dim: int
) -> Draws:
    """Draw all latents of units that share none, ``count`` times.

    Args:
        program: model and guide.
        args: of a call.
        count: the number of draws.
        nesting: of the model's plates.
        unit_dim: the dimension of the units' plate.
    """
    parts = []
    for _ in range(0, count, CHUNK):
        with pyro.plate("particles", min(CHUNK, count), dim=-1 - nesting):
            q = poutine.trace(program[1]).get_trace(*args)
            p = poutine.trace(poutine.replay(program[0], q)).get_trace(*args)
        p.compute_log_prob()
        q.compute_log_prob()
        log_p, log_q = (sum(_by_unit(s, nesting, unit_dim) for s in _sites(t)) for t in (p, q))
        values = {n: p.nodes[n]["value"] for n in p.stochastic_nodes if n != "particles"}
        parts.append((log_p - log_q, values))
    values = {n: torch.cat([v[n] for _, v in parts]) for n in parts[0][1]}
    return Draws(torch.cat([w for w, _ in parts]).double(), values)


def _sites(trace: poutine.Trace) -> list[Any]:
    return [
        site
        for site in trace.nodes.values()
        if site["type"] == "sample" and "log_prob" in site and site["name"] != "particles"
    ]


def _by_unit(site: Any, nesting: int, unit_dim: int) -> Tensor:
    log_prob: Tensor = site["log_prob"]
    if log_prob.dim() <= 1:
        return torch.zeros(())  # the plates themselves
    kept = log_prob.movedim(unit_dim, 1)
    return kept.flatten(2).sum(-1) if kept.dim() > 2 else kept


@torch.no_grad()
def elbo_of(program: tuple[Any, Any], args: Sequence[Tensor], count: int) -> tuple[float, float]:
    """Return the ELBO of all units together, from ``count`` single draws, and its standard error."""
    loss = Trace_ELBO().loss
    each = torch.tensor([-loss(*program, *args) for _ in range(count)], dtype=torch.float64)
    return float(each.mean()), float(each.std() / count**0.5)
