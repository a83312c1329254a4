"""A loop's sites ``z_0 ... z_T`` drawn once, as one slice with edges back in time."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pyro_vae.graph.graph import RANDOM, Edge, Graph, Node, Plate

SHORTEST = 3  # two of a kind, `z_1` and `z_2` of a ladder, are no loop
_INDEX = re.compile(r"^(.*?)(\d+)(\D*)$")


@dataclass(frozen=True)
class _Family:
    """Nodes that differ in one index."""

    name: str
    nodes: Mapping[int, Node]

    @property
    def steps(self) -> range:
        return range(min(self.nodes), max(self.nodes) + 1)


def folded(graph: Graph) -> Graph:
    """The graph with each family of three or more consecutive, alike sites as one node.

    An edge from step t - k to step t becomes one with ``lag`` k; the slice's plate has the loop's
    length (a sequential plate keeps its own name).
    """
    families = _families(graph)
    where = {n.name: (family, i) for family in families for i, n in family.nodes.items()}
    loops = _loop_plates(families, graph)
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        family, _ = where.get(node.name, (None, 0))
        whole = node if family is None else _slice(family, loops.get(family.name))
        nodes.setdefault(whole.name, whole)
    edges = [_fold_edge(edge, where) for edge in graph.edges]
    inner = [
        replace(plate, name=_of_step(plate.name, i))
        for family, i in where.values()
        for plate in graph.plates
        if plate.name in family.nodes[i].plates
    ]
    plates = {plate.name: plate for plate in (*graph.plates, *inner, *loops.values())}
    return Graph(tuple(nodes.values()), (), tuple(plates.values())).with_edges(*edges)


def step_names(graph: Graph) -> dict[str, str]:
    """Node -> its family, of the loops that run two families or more in step: states and data."""
    families = _families(graph)
    plates = _loop_plates(families, graph)
    shared = {name: [f for f in plates if plates[f] is plates[name]] for name in plates}
    return {
        node.name: family.name
        for family in families
        if len(shared.get(family.name, ())) > 1
        for node in family.nodes.values()
    }


def _families(graph: Graph) -> list[_Family]:
    groups: dict[tuple[object, ...], dict[int, Node]] = {}
    for node in graph.nodes:
        match = _INDEX.match(node.name)
        if match is None or node.kind == "data":
            continue
        stem, index, tail = match.groups()
        kind = "sample" if node.kind in RANDOM else node.kind
        plates = tuple(_of_step(plate, int(index)) for plate in node.plates)
        alike = (stem, tail, kind, node.distribution, node.event_shape, plates)
        groups.setdefault(alike, {})[int(index)] = node
    names = set(graph.by_name)
    found = []
    for (stem, tail, *_), nodes in groups.items():
        if len(nodes) >= SHORTEST and len(nodes) == max(nodes) - min(nodes) + 1:
            name = f"{stem}t{tail}"
            while name in names:
                name += "'"
            names.add(name)
            found.append(_Family(name, nodes))
    return [family for family in found if _is_loop(family, found, graph)]


def _of_step(plate: str, index: int) -> str:
    """A plate that each step makes anew, ``notes_3`` in step 3, is one plate of the slice."""
    match = _INDEX.match(plate)
    return f"{match[1]}t{match[3]}" if match and int(match[2]) == index else plate


def _is_loop(family: _Family, families: Sequence[_Family], graph: Graph) -> bool:
    """Parameters are folded only where what they feed is."""
    if any(node.kind != "parameters" for node in family.nodes.values()):
        return True
    sites = {n.name for f in families for n in f.nodes.values() if n.kind != "parameters"}
    return all(child in sites for n in family.nodes.values() for child in graph.children(n.name))


def _loop_plates(families: Iterable[_Family], graph: Graph) -> dict[str, Plate]:
    """For each family the plate of its loop; families as long as one another share it."""
    sequential = {plate.name for plate in graph.plates if plate.sequential}
    taken = {plate.name for plate in graph.plates}
    found: dict[str, Plate] = {}
    for family in families:
        first = family.nodes[family.steps[0]]
        if first.kind == "parameters" or sequential & set(first.plates):
            continue
        length = len(family.nodes)
        plate = next((p for p in found.values() if abs((p.size or 0) - length) <= 1), None)
        if plate is None:
            name = next(n for n in ("t", *(f"t{i}" for i in range(2, 99))) if n not in taken)
            taken.add(name)
            plate = Plate(name, length, length, sequential=True)
        if (plate.size or 0) < length:
            longer = replace(plate, size=length, subsample_size=length)
            found = {n: longer if p is plate else p for n, p in found.items()}
            plate = longer
        found[family.name] = plate
    return found


def _slice(family: _Family, loop: Plate | None) -> Node:
    """The family as one node: its last member, with what any of them shows."""
    nodes = list(family.nodes.values())
    kinds = {node.kind for node in nodes}
    last = family.steps[-1]
    plates = tuple(_of_step(plate, last) for plate in family.nodes[last].plates)
    plates = (*plates, loop.name) if loop else plates
    return replace(
        nodes[-1],
        name=family.name,
        kind=kinds.pop() if len(kinds) == 1 else "partially_observed",
        plates=plates,
        marks=tuple(dict.fromkeys(mark for node in nodes for mark in node.marks)),
        sites=tuple(site for node in nodes for site in node.sites),
    )


def _fold_edge(edge: Edge, where: Mapping[str, tuple[_Family, int]]) -> Edge:
    source, i = where.get(edge.source, (None, 0))
    target, j = where.get(edge.target, (None, 0))
    lag = j - i if source is not None and target is not None else 0
    if source is not None and source.nodes[i].kind == "parameters":
        lag = 0
    return replace(
        edge,
        source=source.name if source else edge.source,
        target=target.name if target else edge.target,
        lag=lag,
    )
