"""What depends on a sample by ways that leave no trace: Python branches, ``.item()``, NumPy.

Found by experiment: where a sample's value left the tensors, the program is run again with that value
changed and every other one held fixed. A statement whose distribution differs depends on the sample.
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
from pyro_vae.graph.record.recorder import Record
from pyro_vae.graph.record.sites import base_distribution, held_tensors

MAX_SOURCES = 40
MAX_SECONDS = 10.0
MAX_VALUES = 6  # a branch that 1 draw in 2 takes is missed by 1 program in 64


@dataclass(frozen=True)
class Untracked:
    """``target`` depends on ``source`` by what the program does at ``where``."""

    source: str
    target: str
    where: str
    branch: bool  # whether the source decides that the target is there at all


@dataclass(frozen=True)
class Findings:
    """What the experiment showed: dependences, branches that the first run did not take, and the
    sources that there was no time for (with where their values left the tensors).
    """

    untracked: tuple[Untracked, ...] = ()
    branches: tuple[Record, ...] = ()
    unexamined: Mapping[str, str] = field(default_factory=dict)


def experiment(record: Record, again: Callable[[poutine.Trace, int], Record]) -> Findings:
    """Changes each sample whose value left the tensors.

    ``again`` runs the program with given draws and a given seed. What differs between two runs with
    the same draws is random in itself, and proves nothing.
    """
    found: dict[tuple[str, str], Untracked] = {}
    branches: list[Record] = []
    unexamined: dict[str, str] = {}
    assert record.trace is not None
    start, sources = monotonic(), escaped(record)
    try:
        reference = again(record.trace, 0)
        noisy = {target for target, _ in _differences(reference, again(record.trace, 1), "")}
    except InputError:  # the program does not run twice
        return Findings(unexamined=sources)
    for number, (source, where) in enumerate(sources.items()):
        if number >= MAX_SOURCES or monotonic() - start > MAX_SECONDS:
            unexamined[source] = where
            continue
        for value in _other_values(record.trace.nodes[source]):
            changed = record.trace.copy()
            changed.nodes[source] = {**changed.nodes[source], "value": value}
            try:
                outcome = again(changed, 0)
            except InputError:  # the program does not take this value
                continue
            if outcome.sites.keys() - record.sites.keys():
                branches.append(outcome)
            for target, branch in _differences(reference, outcome, source):
                known = _parents(outcome if branch else reference, target)
                if target not in noisy and source not in known:
                    finding = Untracked(source, target, where, branch)
                    found.setdefault((source, target), finding)
    return Findings(tuple(found.values()), tuple(branches), unexamined)


def escaped(record: Record) -> dict[str, str]:
    """Latents whose values left the tensors, in the program's order, and where they did."""
    found: dict[str, list[str]] = {}
    for escape in record.escapes:
        for name in (o.name for o in escape.origins if o.kind == "site" and o.name in record.sites):
            is_derived = record.sites[name].kind == "deterministic"
            for source in _parents(record, name) if is_derived else {name}:
                found.setdefault(source, []).append(escape.where)
    return {
        name: ", ".join(dict.fromkeys(found[name]))
        for name, site in record.sites.items()
        if name in found and site.kind == "latent"
    }


def _parents(record: Record, name: str) -> set[str]:
    """The samples that a statement is known to depend on, also through deterministic ones."""
    found: set[str] = set()
    todo = [name]
    while todo:
        site = record.sites.get(todo.pop())
        if site is None:
            continue
        origins = frozenset().union(*site.arguments.values())
        names = {o.name for o in origins if o.kind == "site"} - found
        found |= names
        todo += [n for n in names if n in record.sites and record.sites[n].kind == "deterministic"]
    return found


def _other_values(site: Mapping[str, Any]) -> Iterator[Tensor]:
    fn, value = site["fn"], site["value"]
    if getattr(fn, "has_enumerate_support", False):
        support = base_distribution(fn).enumerate_support(expand=False)
        candidates = iter([v.expand_as(value).to(value.dtype) for v in support])
    else:
        candidates = (fn.sample() for _ in range(MAX_VALUES))
    for candidate in candidates:
        if not torch.equal(candidate, value):
            yield candidate.clone()


def _differences(before: Record, after: Record, source: str) -> Iterator[tuple[str, bool]]:
    """Statements that differ, and whether they differ in being there at all."""
    for name in {**before.sites, **after.sites}:
        if name == source:
            continue
        if name not in before.sites or name not in after.sites:
            yield name, True
        elif not _same(before, after, name):
            yield name, False


def _same(before: Record, after: Record, name: str) -> bool:
    assert before.trace is not None
    assert after.trace is not None
    sites = before.trace.nodes[name], after.trace.nodes[name]
    ones, others = (list(held_tensors(site["fn"])) for site in sites)
    return len(ones) == len(others) and all(
        np.array_equal(torch.as_tensor(a).detach().cpu(), torch.as_tensor(b).detach().cpu())
        for a, b in zip(ones, others, strict=True)
    )
