"""Dependences on a sample that its tensors do not show: Python branches, ``.item()``, NumPy.

An experiment finds them. Where a sample's value became a plain number, the program runs again with this
value changed and every other one fixed. A statement whose distribution changes depends on the sample.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import numpy as np
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.graph.record.recorder import Recording
from pyro_vae.graph.record.statements import base_distribution, tensors_in

MAX_SOURCES = 40
MAX_SECONDS = 10.0
MAX_VALUES = 6  # a branch that 1 draw in 2 takes is missed by 1 program in 64


@dataclass(frozen=True)
class UntrackedEdge:
    """Say that ``target`` depends on ``source`` through the code at ``where``."""

    source: str
    target: str
    where: str
    branch: bool  # whether the source decides that the target exists


@dataclass(frozen=True)
class UntrackedResult:
    """Hold the edges found, recordings of branches that the first run did not take, and the samples
    that there was no time for (with the place where the program reads their values).
    """

    edges: tuple[UntrackedEdge, ...] = ()
    branches: tuple[Recording, ...] = ()
    unexamined: Mapping[str, str] = field(default_factory=dict)


def find_untracked(
    recording: Recording, rerun: Callable[[poutine.Trace, int], Recording]
) -> UntrackedResult:
    """Change each sample whose value the program reads, and compare the runs.

    ``rerun`` runs the program with given draws and a given seed. Where two runs with the same draws
    differ, the program is random in itself: that proves nothing.
    """
    edges: dict[tuple[str, str], UntrackedEdge] = {}
    branches: list[Recording] = []
    unexamined: dict[str, str] = {}
    assert recording.trace is not None
    start, sources = monotonic(), read_samples(recording)
    try:
        reference = rerun(recording.trace, 0)
        noisy = {name for name, _ in _differences(reference, rerun(recording.trace, 1), "")}
    except InputError:  # the program does not run twice
        return UntrackedResult(unexamined=sources)
    for number, (source, where) in enumerate(sources.items()):
        if number >= MAX_SOURCES or monotonic() - start > MAX_SECONDS:
            unexamined[source] = where
            continue
        for changed in _changed_traces(recording.trace, source):
            try:
                outcome = rerun(changed, 0)
            except InputError:  # the program does not take this value
                continue
            if outcome.statements.keys() - recording.statements.keys():
                branches.append(outcome)
            for target, branch in _differences(reference, outcome, source):
                parents = _sampled_parents(outcome if branch else reference, target)
                if target not in noisy and source not in parents:
                    edge = UntrackedEdge(source, target, where, branch)
                    edges.setdefault((source, target), edge)
    return UntrackedResult(tuple(edges.values()), tuple(branches), unexamined)


def read_samples(recording: Recording) -> dict[str, str]:
    """Return the latents whose values the program reads, in its order, and where it does."""
    statements = recording.statements
    places: dict[str, list[str]] = {}
    for read in recording.value_reads:
        for name in (o.name for o in read.origins if o.kind == "site" and o.name in statements):
            is_derived = statements[name].kind == "deterministic"
            for source in _sampled_parents(recording, name) if is_derived else {name}:
                places.setdefault(source, []).append(read.where)
    return {
        name: ", ".join(dict.fromkeys(places[name]))
        for name, statement in statements.items()
        if name in places and statement.kind == "latent"
    }


def _sampled_parents(recording: Recording, name: str) -> set[str]:
    """Return the samples that a statement is known to depend on, also through deterministic ones."""
    statements = recording.statements
    parents: set[str] = set()
    todo = [name]
    while todo:
        statement = statements.get(todo.pop())
        if statement is None:
            continue
        origins = frozenset().union(*statement.parameter_origins.values())
        names = {o.name for o in origins if o.kind == "site"} - parents
        parents |= names
        todo += [n for n in names if n in statements and statements[n].kind == "deterministic"]
    return parents


def _changed_traces(trace: poutine.Trace, source: str) -> Iterator[poutine.Trace]:
    """Return traces in which the source has other values of its distribution."""
    site: Any = trace.nodes[source]
    fn, value = site["fn"], site["value"]
    if getattr(fn, "has_enumerate_support", False):
        support = base_distribution(fn).enumerate_support(expand=False)
        candidates = iter([v.expand_as(value).to(value.dtype) for v in support])
    else:
        candidates = (fn.sample() for _ in range(MAX_VALUES))
    for candidate in candidates:
        if not torch.equal(candidate, value):
            changed: Any = trace.copy()
            changed.nodes[source] = {**site, "value": candidate.clone()}
            yield changed


def _differences(before: Recording, after: Recording, source: str) -> Iterator[tuple[str, bool]]:
    """Return the statements that differ, and whether only one of the runs has them."""
    for name in {**before.statements, **after.statements}:
        if name == source:
            continue
        if name not in before.statements or name not in after.statements:
            yield name, True
        elif not _is_equal(before, after, name):
            yield name, False


def _is_equal(before: Recording, after: Recording, name: str) -> bool:
    assert before.trace is not None
    assert after.trace is not None
    sites = before.trace.nodes[name], after.trace.nodes[name]
    ones, others = (list(tensors_in(site["fn"])) for site in sites)
    return len(ones) == len(others) and all(
        np.array_equal(_as_cpu(a), _as_cpu(b)) for a, b in zip(ones, others, strict=True)
    )


def _as_cpu(values: Tensor | np.ndarray) -> Tensor:
    return torch.as_tensor(values).detach().cpu()
