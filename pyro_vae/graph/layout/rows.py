"""The row of each node: parents above children, model and guide on the same levels."""

import heapq
from collections.abc import Iterable, Mapping

from pyro_vae.graph.fold import step_names
from pyro_vae.graph.graph import Graph, reachable

MIN_CHILDREN = 3  # of parameters that get a row of their own


def model_rows(graph: Graph) -> dict[str, int]:
    """Return rows in which each node is below its parents; one without parents is above its children.

    The steps of a loop over time, with observations of their own, stand side by side.
    """
    loops = step_names(graph)
    names = list(dict.fromkeys(loops.get(node.name, node.name) for node in graph.nodes))
    pairs = dict.fromkeys(
        (loops.get(e.source, e.source), loops.get(e.target, e.target))
        for e in graph.edges
        if not e.lag
    )
    parents = acyclic(names, (pair for pair in pairs if pair[0] != pair[1]))
    rows: dict[str, int] = {}
    for name in sorted_by_parents(names, parents):
        rows[name] = max((rows[p] + 1 for p in parents[name]), default=0)
    last = max(rows.values(), default=0)
    shared = _shared_boxes(graph)
    children = _children(parents)
    for name in names:
        below = [rows[child] for child in children[name]]
        if not parents[name] and below:
            rows[name] = last + 1 if name in shared and set(below) == {last} else min(below) - 1
    top = min(rows.values(), default=0)
    return {node.name: rows[loops.get(node.name, node.name)] - top for node in graph.nodes}


def guide_rows(guide: Graph, model: Mapping[str, int]) -> dict[str, int]:
    """Return rows that put latents on the model's level, and below them what they are computed from.

    A guide runs against the model's direction, so its arrows mostly point up.
    """
    rows = {}
    for node in guide.nodes:
        levels = [model[name] for name in (node.name, *node.sites) if name in model]
        if levels:
            rows[node.name] = min(levels)
    names = [node.name for node in guide.nodes]
    parents = acyclic(names, ((e.source, e.target) for e in guide.edges if e.source != e.target))
    shared = _shared_boxes(guide)
    below = _children(parents)
    for name in reversed(list(sorted_by_parents(names, parents))):
        if name not in rows:
            children = [rows[child] for child in below[name] if child in rows]
            lowest = max(children, default=-1)
            above = name in shared and len(set(children)) == 1 and lowest > 0
            rows[name] = lowest - 1 if above else lowest + 1
    return rows


def _shared_boxes(graph: Graph) -> set[str]:
    """Return parameters of many statements: their arrows need one side of the row."""
    boxes = [node.name for node in graph.nodes if node.kind == "parameters"]
    return {name for name in boxes if len(graph.children(name)) >= MIN_CHILDREN}


def _children(parents: Mapping[str, set[str]]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {name: [] for name in parents}
    for child, above in parents.items():
        for name in above:
            children[name].append(child)
    return children


def acyclic(names: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Return each node's parents without the pairs that would close a cycle."""
    parents: dict[str, set[str]] = {name: set() for name in names}
    place = {name: i for i, name in enumerate(parents)}
    all_forward = True  # a cycle needs a pair against the order of the names
    for source, target in pairs:
        is_forward = place[source] < place[target]
        if (is_forward and all_forward) or target not in reachable(source, parents.__getitem__):
            parents[target].add(source)
            all_forward = all_forward and is_forward
    return parents


def sorted_by_parents(names: Iterable[str], parents: Mapping[str, set[str]]) -> list[str]:
    """Return the names with every parent before its children, otherwise in their own order."""
    own = list(names)
    place = {name: i for i, name in enumerate(own)}
    waits_for = {name: len(parents[name]) for name in own}
    children = _children(parents)
    ready = [place[name] for name in own if not waits_for[name]]
    heapq.heapify(ready)
    ordered = []
    while ready:
        name = own[heapq.heappop(ready)]
        ordered.append(name)
        for child in children[name]:
            waits_for[child] -= 1
            if not waits_for[child]:
                heapq.heappush(ready, place[child])
    return ordered
