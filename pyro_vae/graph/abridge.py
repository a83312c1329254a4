"""A loop longer than a page, shown by its first, second and last steps."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pyro_vae.graph.fold import (
    READ,
    Series,
    every_series,
    name_for_all_steps,
    shared_numbers,
    step_names,
)
from pyro_vae.graph.graph import Graph, Node, Plate
from pyro_vae.graph.layout.rows import guide_rows, model_rows

MAX_STEPS = 12  # side by side or below one another: about what a page of paper holds


@dataclass(frozen=True)
class Abridged:
    """Hold the graphs as pictures and texts show them, and in words what is left out."""

    graphs: Mapping[str, Graph]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Loop:
    """Hold the series whose steps go together, each with its part: states, data, the guide's draws."""

    members: tuple[tuple[str, Series], ...]

    @property
    def left_out(self) -> range:
        """The steps between the second and the last of all series."""
        steps = [series.steps for _, series in self.members]
        return range(max(s[1] for s in steps) + 1, min(s[-1] for s in steps))

    def takes(self, other: Series) -> bool:
        """Return whether a series has the steps of this loop, but for one at either end."""
        own = self.members[0][1].steps
        return abs(own[0] - other.steps[0]) <= 1 and abs(own[-1] - other.steps[-1]) <= 1


def abridged(graphs: Mapping[str, Graph]) -> Abridged:
    """Return the graphs with one node for all steps but the first two and the last of each long loop.

    A loop is long if more than ``MAX_STEPS`` steps would stand side by side or below one another. The model
    and its guide leave out the same steps.
    """
    loops = _loops(graphs)
    if not loops:
        return Abridged(graphs)
    rows = {"model": model_rows(graphs["model"])}
    if "guide" in graphs:
        rows["guide"] = guide_rows(graphs["guide"], rows["model"])
    long = [
        loop for loop in loops if any(_is_long(series, rows[part]) for part, series in loop.members)
    ]
    shown = {part: _without_steps(part, graph, long) for part, graph in graphs.items()}
    return Abridged(shown if long else graphs, tuple(map(_remark, long)))


def _loops(graphs: Mapping[str, Graph]) -> list[_Loop]:
    """Return the loops of so many steps that they may be long."""
    loops: list[_Loop] = []
    for part, graph in graphs.items():
        for series in every_series(graph):
            if len(series.nodes) <= MAX_STEPS:
                continue
            known = next((i for i, loop in enumerate(loops) if loop.takes(series)), None)
            if known is None:
                loops.append(_Loop(((part, series),)))
            else:
                loops[known] = _Loop((*loops[known].members, (part, series)))
    return loops


def _is_long(series: Series, rows: Mapping[str, int]) -> bool:
    per_row = Counter(rows[node.name] for node in series.nodes.values())
    return max(len(per_row), *per_row.values()) > MAX_STEPS


def _remark(loop: _Loop) -> str:
    names = dict.fromkeys(
        _name(series, loop) for _, series in loop.members if series.kind not in READ
    )
    total = max(len(series.nodes) for _, series in loop.members)
    return (
        f"{', '.join(names)}: {len(loop.left_out)} of {total} steps are left out; "
        "fold=False draws every step, fold=True one for all"
    )


def _name(series: Series, loop: _Loop) -> str:
    first, last = (series.nodes[loop.left_out[i]].name for i in (0, -1))
    return f"{first} … {last}"


def _without_steps(part: str, graph: Graph, loops: Sequence[_Loop]) -> Graph:
    """Return the graph with one node for the steps that each loop leaves out."""
    gaps: dict[str, Node] = {}  # by the name of a node that is left out
    plates: dict[str, Plate] = {}  # by the name of a plate that is left out
    here = [(s, loop) for loop in loops for owner, s in loop.members if owner == part]
    for series, loop in here:
        names = [series.nodes[i].name for i in loop.left_out]
        gaps |= dict.fromkeys(names, _gap(series, loop))
        plates |= dict(_gap_plates(graph, series, loop))
    beside = step_names(graph)
    shown: dict[str, Node] = {}
    for node in graph.nodes:
        known = gaps.get(node.name, node)
        shown.setdefault(known.name, replace(known, series=beside.get(node.name)))
    new = {name: gaps[name].name if name in gaps else name for name in graph.by_name}
    edges = [replace(e, source=new[e.source], target=new[e.target]) for e in graph.edges]
    every_plate = dict.fromkeys(plates.get(plate.name, plate) for plate in graph.plates)
    abridged_graph = Graph(tuple(shown.values()), (), tuple(every_plate))
    return abridged_graph.with_edges(*(e for e in edges if e.source != e.target))


def _gap(series: Series, loop: _Loop) -> Node:
    """Return the node for the steps of a series that are left out."""
    nodes = [series.nodes[i] for i in loop.left_out]
    kinds = {node.kind for node in nodes}
    plates = [
        _plate_name(plate, nodes[0].plates[i], loop) for i, plate in enumerate(nodes[-1].plates)
    ]
    marks = dict.fromkeys(mark for node in nodes for mark in node.marks)
    return replace(
        nodes[-1],
        name=_name(series, loop),
        kind=kinds.pop() if len(kinds) == 1 else "partially_observed",
        plates=tuple(plates),
        numbers=shared_numbers(nodes),
        caption="",
        marks=(f"{len(nodes)} steps", *marks),
        sites=tuple(site for node in nodes for site in node.sites),
    )


def _plate_name(plate: str, first: str, loop: _Loop) -> str:
    """Return the name for the steps left out of a plate that each step makes."""
    is_of_step = name_for_all_steps(plate, loop.left_out[-1]) != plate
    return f"{first} … {plate}" if is_of_step else plate


def _gap_plates(graph: Graph, series: Series, loop: _Loop) -> Iterator[tuple[str, Plate]]:
    """Return the plates that the steps left out make, each with the plate that stands for all of them."""
    by_name = {plate.name: plate for plate in graph.plates}
    nodes = [series.nodes[i] for i in loop.left_out]
    for names in zip(*(node.plates for node in nodes), strict=True):
        every = {replace(by_name[name], name="") for name in names}
        plate = every.pop() if len(every) == 1 else Plate("", None, None)
        plate = replace(plate, name=_plate_name(names[-1], names[0], loop))
        yield from ((name, plate) for name in names)
