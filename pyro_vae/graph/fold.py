"""A loop's sites ``z_0 ... z_T`` drawn once, as one slice with edges back in time."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from pyro_vae.graph.graph import RANDOM, Edge, Graph, Node, Plate

READ = ("parameters", "data")  # what statements read
MIN_LENGTH = 3  # two alike, such as the ladder `z_1`, `z_2`, are not a loop
_INDEX = re.compile(r"^(.*?)(\d+)(\D*)$")


@dataclass(frozen=True)
class Series:
    """Hold alike nodes whose names differ in one index."""

    name: str
    nodes: Mapping[int, Node]

    @property
    def kind(self) -> str:
        return self.nodes[self.steps[0]].kind

    @property
    def steps(self) -> range:
        return range(min(self.nodes), max(self.nodes) + 1)


def folded(graph: Graph) -> Graph:
    """Return the graph with each series of three or more consecutive, alike sites as one node.

    An edge from step t - k to step t becomes one with ``lag`` k. The node's plate has the loop's length; a
    sequential plate keeps its name.
    """
    all_series = every_series(graph)
    steps = {n.name: (series, i) for series in all_series for i, n in series.nodes.items()}
    loops = _loop_plates(all_series, graph)
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        series, _ = steps.get(node.name, (None, 0))
        folded_node = node if series is None else _slice(series, loops.get(series.name))
        nodes.setdefault(folded_node.name, folded_node)
    edges = [_folded_edge(edge, steps) for edge in graph.edges]
    inner = [
        replace(plate, name=name_for_all_steps(plate.name, i))
        for series, i in steps.values()
        for plate in graph.plates
        if plate.name in series.nodes[i].plates
    ]
    plates = {plate.name: plate for plate in (*graph.plates, *inner, *loops.values())}
    return Graph(tuple(nodes.values()), (), tuple(plates.values())).with_edges(*edges)


def step_names(graph: Graph) -> dict[str, str]:
    """Return node -> series, for the loops that run several series in step: states and data.

    The nodes of an abridged loop know their series.
    """
    all_series = [series for series in every_series(graph) if series.kind not in READ]
    plates = _loop_plates(all_series, graph)
    shared = Counter(plate.name for plate in plates.values())
    known = {node.name: node.series for node in graph.nodes if node.series is not None}
    return known | {
        node.name: series.name
        for series in all_series
        if series.name in plates and shared[plates[series.name].name] > 1
        for node in series.nodes.values()
    }


def every_series(graph: Graph) -> list[Series]:
    """Return each series of three or more consecutive, alike nodes."""
    groups: dict[tuple[object, ...], dict[int, Node]] = {}
    for node in graph.nodes:
        match = _INDEX.match(node.name)
        if match is None:
            continue
        stem, index, tail = match.groups()
        kind = "sample" if node.kind in RANDOM else node.kind
        plates = tuple(name_for_all_steps(plate, int(index)) for plate in node.plates)
        alike = (stem, tail, kind, node.distribution, node.event_shape, plates)
        groups.setdefault(alike, {})[int(index)] = node
    names = set(graph.by_name)
    all_series = []
    for (stem, tail, *_), nodes in groups.items():
        if len(nodes) >= MIN_LENGTH and len(nodes) == max(nodes) - min(nodes) + 1:
            name = f"{stem}t{tail}"
            while name in names:
                name += "'"
            names.add(name)
            all_series.append(Series(name, nodes))
    sites = {n.name for s in all_series if s.kind not in READ for n in s.nodes.values()}
    return [series for series in all_series if _is_loop(series, sites, graph)]


def name_for_all_steps(plate: str, index: int) -> str:
    """Return the name for all steps of a plate that each step makes, such as ``notes_3`` in step 3."""
    match = _INDEX.match(plate)
    return f"{match[1]}t{match[3]}" if match and int(match[2]) == index else plate


def _is_loop(series: Series, sites: Set[str], graph: Graph) -> bool:
    """Return whether to fold a series: parameters and data only together with all their children."""
    if series.kind not in READ:
        return True
    return all(child in sites for n in series.nodes.values() for child in graph.children(n.name))


def _loop_plates(all_series: Iterable[Series], graph: Graph) -> dict[str, Plate]:
    """Return the plate of each series' loop; series of about the same length share one."""
    sequential = {plate.name for plate in graph.plates if plate.sequential}
    taken = {plate.name for plate in graph.plates}
    plates: dict[str, Plate] = {}
    for series in all_series:
        first = series.nodes[series.steps[0]]
        if series.kind == "parameters" or sequential & set(first.plates):
            continue
        length = len(series.nodes)
        plate = next((p for p in plates.values() if abs((p.size or 0) - length) <= 1), None)
        if plate is None:
            name = next(
                n for n in ("t", *(f"t{i}" for i in range(2, len(taken) + 3))) if n not in taken
            )
            taken.add(name)
            plate = Plate(name, length, length, sequential=True)
        if (plate.size or 0) < length:
            longer = replace(plate, size=length, subsample_size=length)
            plates = {n: longer if p is plate else p for n, p in plates.items()}
            plate = longer
        plates[series.name] = plate
    return plates


def _slice(series: Series, loop: Plate | None) -> Node:
    """Return the series as one node: its last member, with the marks and sites of all."""
    nodes = list(series.nodes.values())
    kinds = {node.kind for node in nodes}
    last = series.steps[-1]
    plates = tuple(name_for_all_steps(plate, last) for plate in series.nodes[last].plates)
    plates = (*plates, loop.name) if loop else plates
    return replace(
        nodes[-1],
        name=series.name,
        kind=kinds.pop() if len(kinds) == 1 else "partially_observed",
        plates=plates,
        numbers=shared_numbers(nodes),
        marks=tuple(dict.fromkeys(mark for node in nodes for mark in node.marks)),
        sites=tuple(site for node in nodes for site in node.sites),
    )


def shared_numbers(nodes: Sequence[Node]) -> tuple[str | None, ...]:
    """Return the numbers of alike nodes: those of the last one, where all with this argument have them."""
    known = [dict(zip(node.arguments, node.numbers, strict=False)) for node in nodes]
    return tuple(
        number if all(each.get(name, number) == number for each in known) else None
        for name, number in known[-1].items()
    )


def _folded_edge(edge: Edge, steps: Mapping[str, tuple[Series, int]]) -> Edge:
    source, i = steps.get(edge.source, (None, 0))
    target, j = steps.get(edge.target, (None, 0))
    lag = j - i if source is not None and target is not None else 0
    if source is not None and source.nodes[i].kind == "parameters":
        lag = 0
    return replace(
        edge,
        source=source.name if source else edge.source,
        target=target.name if target else edge.target,
        lag=lag,
    )
