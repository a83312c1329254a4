"""The graph as data: every picture, text and file is a pure function of it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

Shape = tuple[int, ...]

KINDS = (
    "latent",
    "observed",
    "partially_observed",
    "deterministic",
    "factor",
    "data",
    "parameters",
)
RANDOM = ("latent", "observed", "partially_observed")


@dataclass(frozen=True)
class Node:
    """Hold a statement, an argument of the call, or a box of parameters.

    ``distribution`` is the distribution's class, or a network's; ``arguments`` are the distribution's
    parameters, and ``numbers``, of each of them, its value where it is a constant; ``support`` is the set
    of its values, or a parameter's constraint. ``sites`` are the sites that a statement has in a trace:
    three where it is partially observed. ``marks`` are words that a
    picture shows: discrete, enumerated, auxiliary, conditioned, masked, scaled, the number of steps that a
    node stands for in an abridged loop, and the red ones of ``palette``. ``series`` is what the steps of an
    abridged loop share: they stand side by side. ``part`` is the AutoGuide that draws a guide's latent.
    ``caption`` is the user's text for the name, with mathematics between dollar signs.
    """

    name: str
    kind: str
    distribution: str | None = None
    arguments: tuple[str, ...] = ()
    batch_shape: Shape = ()
    event_shape: Shape = ()
    plates: tuple[str, ...] = ()
    support: str | None = None
    marks: tuple[str, ...] = ()
    count: int | None = None  # of the numbers in a box of parameters
    sites: tuple[str, ...] = ()
    series: str | None = None
    numbers: tuple[str | None, ...] = ()
    part: str = ""
    caption: str = ""

    @property
    def label(self) -> str:
        """What to show: the caption, or the name without the signs that Pyro puts into a weight's."""
        return self.caption or self.name.replace("$$$", ".")

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "distribution": self.distribution,
            "arguments": dict(zip(self.arguments, self.numbers, strict=False)),
            "batch_shape": list(self.batch_shape),
            "event_shape": list(self.event_shape),
            "plates": list(self.plates),
            **({"label": self.caption} if self.caption else {}),
        }


@dataclass(frozen=True)
class Edge:
    """Say that ``target`` depends on ``source``, through the distribution's parameters ``via``.

    ``how`` is "tracked" (through tensors), "untracked" (found by changing the source's value) or
    "declared" (by the user). ``lag`` counts the steps back in time of an edge in a folded loop.
    """

    source: str
    target: str
    via: tuple[str, ...] = ()
    how: str = "tracked"
    lag: int = 0


@dataclass(frozen=True)
class Plate:
    """Hold a plate of ``size`` copies; a run uses ``subsample_size`` of them.

    A sequential plate is a Python loop. The sizes are None where neither the plate nor its content shows
    them.
    """

    name: str
    size: int | None
    subsample_size: int | None
    sequential: bool = False

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "size": self.size, "subsample_size": self.subsample_size}


@dataclass(frozen=True)
class Graph:
    """Hold nodes and plates in the program's order, and edges by target and source."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    plates: tuple[Plate, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    def members(self, plate: str) -> tuple[str, ...]:
        return self._members.get(plate, ())

    def parents(self, name: str) -> tuple[str, ...]:
        return self._parents.get(name, ())

    def children(self, name: str) -> tuple[str, ...]:
        return self._children.get(name, ())

    @cached_property
    def _members(self) -> Mapping[str, tuple[str, ...]]:
        return _listed((plate, node.name) for node in self.nodes for plate in node.plates)

    @cached_property
    def _parents(self) -> Mapping[str, tuple[str, ...]]:
        return _listed((edge.target, edge.source) for edge in self.edges)

    @cached_property
    def _children(self) -> Mapping[str, tuple[str, ...]]:
        return _listed((edge.source, edge.target) for edge in self.edges)

    def to_dict(self) -> dict[str, Any]:
        return {
            "nodes": [node.to_dict() for node in self.nodes],
            "edges": [
                list(pair) for pair in dict.fromkeys((e.source, e.target) for e in self.edges)
            ],
            "plates": [plate.to_dict() for plate in self.plates],
        }

    def without(self, *kinds: str) -> "Graph":
        """Return the graph without these kinds of nodes; their parents and children are joined."""
        hidden = [node.name for node in self.nodes if node.kind in kinds]
        order = {node.name: i for i, node in enumerate(self.nodes)}
        into: dict[str, dict[tuple[str, int], Edge]] = {name: {} for name in order}
        out: dict[str, dict[tuple[str, int], Edge]] = {name: {} for name in order}
        for edge in self.edges:
            into[edge.target][edge.source, edge.lag] = edge
            out[edge.source][edge.target, edge.lag] = edge
        for name in hidden:
            before = sorted(into.pop(name).values(), key=lambda e: (order[e.source], e.lag))
            after = sorted(out.pop(name).values(), key=lambda e: (order[e.target], e.lag))
            for edge in before:
                del out[edge.source][name, edge.lag]
            for edge in after:
                del into[edge.target][name, edge.lag]
            for first, last in product(before, after):
                edge = replace(last, source=first.source, lag=first.lag + last.lag)
                edge = _joined(into[edge.target].get((edge.source, edge.lag)), edge)
                into[edge.target][edge.source, edge.lag] = edge
                out[edge.source][edge.target, edge.lag] = edge
        nodes = tuple(node for node in self.nodes if node.kind not in kinds)
        edges = (edge for each in into.values() for edge in each.values())
        return replace(self, nodes=nodes).with_edges(*edges)

    def with_edges(self, *edges: Edge) -> "Graph":
        """Return the same nodes with these edges: parallel ones as one, in the nodes' order."""
        merged: dict[tuple[str, str, int], Edge] = {}
        for edge in edges:
            key = (edge.source, edge.target, edge.lag)
            merged[key] = _joined(merged.get(key), edge)
        order = {node.name: i for i, node in enumerate(self.nodes)}
        ranked = sorted(merged.values(), key=lambda e: (order[e.target], order[e.source], e.lag))
        used = {plate for node in self.nodes for plate in node.plates}
        plates = tuple(plate for plate in self.plates if plate.name in used)
        return replace(self, edges=tuple(ranked), plates=plates)

    def with_nodes(self, changed: Mapping[str, Node]) -> "Graph":
        """Return the same graph with some nodes replaced."""
        return replace(self, nodes=tuple(changed.get(node.name, node) for node in self.nodes))

    def renamed(self, names: Mapping[str, str]) -> "Graph":
        """Return the same graph with other names for some nodes; nodes of the same name become one."""
        nodes: dict[str, Node] = {}
        for node in self.nodes:
            new = names.get(node.name, node.name)
            known = nodes.get(new)
            count = (node.count or 0) + (known.count or 0) if known else node.count
            sites = tuple(dict.fromkeys((*(known.sites if known else ()), *node.sites)))
            caption = node.caption if new == node.name else ""
            nodes[new] = replace(known or node, name=new, count=count, sites=sites, caption=caption)
        edges = [
            replace(e, source=names.get(e.source, e.source), target=names.get(e.target, e.target))
            for e in self.edges
        ]
        return replace(self, nodes=tuple(nodes.values())).with_edges(*edges)

    def grouped(self) -> "Graph":
        """Return the graph for pictures: single parameters that feed the same nodes share a box."""
        boxes: dict[tuple[str, ...], list[Node]] = {}
        for node in self.nodes:
            if node.kind == "parameters" and node.distribution == "Parameter":
                boxes.setdefault(self.children(node.name), []).append(node)
        names: dict[str, str] = {}
        for nodes in boxes.values():
            if len(nodes) > 1:
                names |= {node.name: ", ".join(n.name for n in nodes) for node in nodes}
        without_shape = {n: replace(self.by_name[n], batch_shape=()) for n in names}
        if not names:
            return self
        grouped = self.with_nodes(without_shape).renamed(names)
        captions = {
            ", ".join(n.name for n in nodes): ", ".join(n.label for n in nodes)
            for nodes in boxes.values()
            if len(nodes) > 1 and any(n.caption for n in nodes)
        }
        return grouped.with_nodes(
            {n: replace(grouped.by_name[n], caption=c) for n, c in captions.items()}
        )


def _joined(known: Edge | None, edge: Edge) -> Edge:
    """Return one edge in place of two parallel ones."""
    via = dict.fromkeys((*known.via, *edge.via) if known else edge.via)
    return replace(known or edge, via=tuple(via))


def _listed(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return all second members of the pairs by the first."""
    lists: dict[str, list[str]] = {}
    for key, value in pairs:
        lists.setdefault(key, []).append(value)
    return {key: tuple(values) for key, values in lists.items()}


def reachable(name: str, neighbours: Callable[[str], Iterable[str]]) -> set[str]:
    """Return a node with all that can be reached from it.

    >>> sorted(reachable("a", {"a": ["b"], "b": ["a", "c"], "c": [], "d": ["a"]}.__getitem__))
    ['a', 'b', 'c']
    """
    names, todo = {name}, [name]
    while todo:
        new = set(neighbours(todo.pop())) - names
        names |= new
        todo += new
    return names
