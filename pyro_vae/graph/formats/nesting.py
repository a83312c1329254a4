"""The traversal of a graph that all text formats share.

Their boxes can only nest. A plate that crosses larger ones has no box: its nodes name it in words.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pyro_vae.graph.graph import Graph, Node, Plate
from pyro_vae.graph.layout.boxes import details, plate_label
from pyro_vae.graph.layout.mathtext import is_math, plain
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


def label_in_words(node: Node) -> str:
    """Return what to call a node where no mathematics can be set."""
    return plain(node.caption) if is_math(node.caption) else node.label


def nested_entries(graph: Graph, view: View) -> Iterator[Entry]:
    """Return the graph from top to bottom: in each box its own nodes first, then the boxes inside."""
    inside_of: dict[str | None, list[Plate]] = {None: []}  # by the name of the plate around
    box: dict[str, str | None] = dict.fromkeys(graph.by_name)  # the innermost around each node
    for plate in sorted(graph.plates, key=lambda plate: -len(graph.members(plate.name))):
        around = {box[name] for name in graph.members(plate.name)}
        if len(around) == 1:
            inside_of[around.pop()].append(plate)
            inside_of[plate.name] = []
            box |= dict.fromkeys(graph.members(plate.name), plate.name)
    unboxed = [plate for plate in graph.plates if plate.name not in inside_of]
    nodes: dict[str | None, list[Node]] = {name: [] for name in inside_of}
    for node in graph.nodes:
        nodes[box[node.name]].append(node)

    def entry(node: Node, depth: int) -> NodeEntry:
        crossing = [f"in {plate_label(p, view)}" for p in unboxed if p.name in node.plates]
        return NodeEntry(node, (*details(node, view), *node.marks, *crossing), depth)

    def entries(around: str | None, depth: int) -> Iterator[Entry]:
        yield from (entry(node, depth) for node in nodes[around])
        for plate in inside_of[around]:
            content = list(entries(plate.name, depth + 1))
            first = next(each.node for each in content if isinstance(each, NodeEntry))
            yield PlateStart(plate, plate_label(plate, view), first, depth)
            yield from content
            yield PlateEnd(depth)

    return entries(None, 0)
