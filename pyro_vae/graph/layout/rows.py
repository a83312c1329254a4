"""The row that each node stands in: parents above children, model and guide on the same levels."""

from collections.abc import Iterable, Mapping

from pyro_vae.graph.fold import loops
from pyro_vae.graph.graph import Graph

MANY = 3  # children


def model_rows(graph: Graph) -> dict[str, int]:
    """Every node below its parents; what has no parents just above its highest child.

    The steps of a loop over time, with observations of their own, stand side by side.
    """
    where = loops(graph)
    names = list(dict.fromkeys(where.get(node.name, node.name) for node in graph.nodes))
    pairs = dict.fromkeys(
        (where.get(e.source, e.source), where.get(e.target, e.target))
        for e in graph.edges
        if not e.lag
    )
    parents = acyclic(names, (pair for pair in pairs if pair[0] != pair[1]))
    rows: dict[str, int] = {}
    for name in sorted_by_parents(names, parents):
        rows[name] = max((rows[p] + 1 for p in parents[name]), default=0)
    last = max(rows.values(), default=0)
    shared = _shared_boxes(graph)
    for name in names:
        below = [rows[child] for child in names if name in parents[child]]
        if not parents[name] and below:
            rows[name] = last + 1 if name in shared and set(below) == {last} else min(below) - 1
    top = min(rows.values(), default=0)
    return {node.name: rows[where.get(node.name, node.name)] - top for node in graph.nodes}


def guide_rows(guide: Graph, model: Mapping[str, int]) -> dict[str, int]:
    """What the model has, too, on the model's level; what it is made from, below it.

    A guide runs against the model's direction, so its arrows mostly point up.
    """
    rows = {node.name: model[node.name] for node in guide.nodes if node.name in model}
    names = [node.name for node in guide.nodes]
    parents = acyclic(names, ((e.source, e.target) for e in guide.edges if e.source != e.target))
    shared = _shared_boxes(guide)
    for name in reversed(list(sorted_by_parents(names, parents))):
        if name not in rows:
            children = [rows[child] for child in names if name in parents[child] and child in rows]
            lowest = max(children, default=-1)
            above = name in shared and len(set(children)) == 1 and lowest > 0
            rows[name] = lowest - 1 if above else lowest + 1
    return rows


def _shared_boxes(graph: Graph) -> set[str]:
    """Parameters of many statements: their arrows want a side of the row for themselves."""
    boxes = [node.name for node in graph.nodes if node.kind == "parameters"]
    return {name for name in boxes if len(graph.children(name)) >= MANY}


def acyclic(names: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Each node's parents, leaving out every pair that would close a circle."""
    parents: dict[str, set[str]] = {name: set() for name in names}
    for source, target in pairs:
        if target not in _ancestors(source, parents):
            parents[target].add(source)
    return parents


def _ancestors(name: str, parents: Mapping[str, set[str]]) -> set[str]:
    found, todo = {name}, [name]
    while todo:
        new = parents[todo.pop()] - found
        found |= new
        todo += new
    return found


def sorted_by_parents(names: Iterable[str], parents: Mapping[str, set[str]]) -> list[str]:
    """The names with every parent before its children, otherwise in their own order."""
    found: dict[str, None] = {}
    waiting = list(names)
    while waiting:
        name = next(n for n in waiting if parents[n] <= found.keys())
        waiting.remove(name)
        found[name] = None
    return list(found)
