"""The traversal of a graph that all text formats share.

Their boxes can only nest. A plate that crosses larger ones has no box: its nodes name it in words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyro_vae.graph.graph import Graph, Node, Plate
from pyro_vae.graph.layout.boxes import details, plate_label
from pyro_vae.graph.view import View


@dataclass(frozen=True)
class NodeEntry:
    """Write a node, inside of ``depth`` boxes."""

    node: Node
    words: tuple[str, ...]  # distribution, shape, marks, and the plates that have no box
    depth: int


@dataclass(frozen=True)
class PlateStart:
    """Open a plate's box."""

    plate: Plate
    label: str
    first: Node  # in the box, or in a box inside it
    depth: int


@dataclass(frozen=True)
class PlateEnd:
    """Close the box that was opened last."""

    depth: int


Entry = NodeEntry | PlateStart | PlateEnd


def node_ids(graph: Graph, prefix: str) -> dict[str, str]:
    """Return a short identifier for each node, for languages that do not take any name."""
    return {node.name: f"{prefix}{i}" for i, node in enumerate(graph.nodes)}


def nested_entries(graph: Graph, view: View) -> Iterator[Entry]:
    """Return the graph from top to bottom: in each box its own nodes first, then the boxes inside."""
    members = {plate.name: set(graph.members(plate.name)) for plate in graph.plates}
    boxed: list[Plate] = []
    for plate in sorted(graph.plates, key=lambda plate: -len(members[plate.name])):
        inside = members[plate.name]
        if all(inside <= members[b.name] or not inside & members[b.name] for b in boxed):
            boxed.append(plate)
    unboxed = [plate for plate in graph.plates if plate not in boxed]

    def entry(node: Node, depth: int) -> NodeEntry:
        crossing = [f"in {plate_label(p, view)}" for p in unboxed if p.name in node.plates]
        return NodeEntry(node, (*details(node, view), *node.marks, *crossing), depth)

    def entries(inside: set[str], plates: Sequence[Plate], depth: int) -> Iterator[Entry]:
        boxes = []
        while fitting := [plate for plate in plates if members[plate.name] <= inside]:
            outer, names = fitting[0], members[fitting[0].name]
            inner = [p for p in plates if p is not outer and members[p.name] <= names]
            boxes.append((outer, list(entries(names, inner, depth + 1))))
            inside = inside - names
            plates = [p for p in plates if p is not outer and p not in inner]
        yield from (entry(node, depth) for node in graph.nodes if node.name in inside)
        for plate, content in boxes:
            first = next(each.node for each in content if isinstance(each, NodeEntry))
            yield PlateStart(plate, plate_label(plate, view), first, depth)
            yield from content
            yield PlateEnd(depth)

    return entries(set(graph.by_name), boxed, 0)
