"""The graph as plain text, for a terminal: each statement in its plates, with its parents."""

from collections.abc import Iterator, Sequence

from pyro_vae.graph.abridge import Abridged
from pyro_vae.graph.formats.nesting import (
    NodeEntry,
    PlateStart,
    label_in_words,
    nested_entries,
)
from pyro_vae.graph.graph import Edge, Graph, Node
from pyro_vae.graph.layout.fonts import printable
from pyro_vae.graph.view import View

_SIGNS = {
    "latent": "○",
    "observed": "●",
    "partially_observed": "◐",
    "deterministic": "◎",
    "factor": "■",
    "data": "▣",
    "parameters": "□",
}


def text(shown: Abridged, warnings: Sequence[str], title: str, view: View) -> str:
    """Return a line for each node, plates as indented blocks, warnings, remarks, and the signs used."""
    graphs = shown.graphs
    lines = [printable(title)]
    for name, graph in graphs.items():
        lines += ["", name] if len(lines) > 1 else [name]
        lines += _aligned(list(_rows(graph, view))) if graph.nodes else ["  (no statements)"]
    used = {node.kind for graph in graphs.values() for node in graph.nodes}
    signs = [f"{sign} {kind.replace('_', ' ')}" for kind, sign in _SIGNS.items() if kind in used]
    lines += ["", *(printable(f"! {warning}") for warning in warnings)]
    lines += [*map(printable, shown.remarks), "  ".join(signs)]
    return "\n".join(lines) + "\n"


def _rows(graph: Graph, view: View) -> Iterator[tuple[str, ...]]:
    """Return rows of (name, details, parents), or of a plate's border alone."""
    into: dict[str, list[Edge]] = {node.name: [] for node in graph.nodes}
    for edge in graph.edges:
        into[edge.target].append(edge)
    for entry in nested_entries(graph, view):
        indent = "  " + "│ " * entry.depth
        if isinstance(entry, NodeEntry):
            name = f"{indent}{_SIGNS[entry.node.kind]} {printable(label_in_words(entry.node))}"
            yield name, ", ".join(entry.words), _parents(into[entry.node.name], graph)
        elif isinstance(entry, PlateStart):
            yield (f"{indent}┌ {entry.label}",)
        else:
            yield (f"{indent}└",)


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Return the rows as lines, with their columns below one another."""
    names, words = (max(len(row[i]) for row in rows if len(row) > 1) for i in range(2))
    for row in rows:
        yield f"{row[0]:<{names}}  {row[1]:<{words}}  {row[2]}".rstrip() if len(row) > 1 else row[0]


def _parents(edges: Sequence[Edge], graph: Graph) -> str:
    return "← " + ", ".join(_parent(e, graph.by_name[e.source]) for e in edges) if edges else ""


def _parent(edge: Edge, source: Node) -> str:
    lag = f"[t-{edge.lag}]" if edge.lag else ""
    how = "" if edge.how == "tracked" else f" ({edge.how})"
    return f"{printable(label_in_words(source))}{lag}{how}"
