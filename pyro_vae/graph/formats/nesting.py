"""Plates as a tree, for formats whose boxes can only nest."""

from dataclasses import dataclass

from pyro_vae.graph.graph import Graph, Node, Plate


@dataclass(frozen=True)
class Nest:
    """A plate (None: the whole graph) with the nodes and plates directly in it."""

    plate: Plate | None
    nodes: tuple[Node, ...]
    inner: tuple["Nest", ...]


def nested(graph: Graph) -> tuple[Nest, dict[str, tuple[Plate, ...]]]:
    """The tree, and by node the plates that cross others and so are in no box: to be said in words."""
    members = {plate.name: set(graph.members(plate.name)) for plate in graph.plates}
    by_size = sorted(graph.plates, key=lambda plate: -len(members[plate.name]))
    boxed: list[Plate] = []
    for plate in by_size:
        mine = members[plate.name]
        if all(mine <= members[b.name] or not mine & members[b.name] for b in boxed):
            boxed.append(plate)
    told = {
        node.name: tuple(p for p in graph.plates if p.name in node.plates and p not in boxed)
        for node in graph.nodes
    }

    def nest(plate: Plate | None, inside: set[str], rest: list[Plate]) -> Nest:
        inner = []
        left = set(inside)
        while rest and (fitting := [p for p in rest if members[p.name] <= left]):
            first = fitting[0]
            below = [p for p in rest if p is not first and members[p.name] <= members[first.name]]
            inner.append(nest(first, members[first.name], below))
            left -= members[first.name]
            rest = [p for p in rest if p is not first and p not in below]
        nodes = tuple(node for node in graph.nodes if node.name in left)
        return Nest(plate, nodes, tuple(inner))

    return nest(None, set(graph.by_name), boxed), told
