"""The graph as plain text, for a terminal: each statement under its plates, with what it reads."""

from collections.abc import Iterator, Sequence

from pyro_vae.graph.formats.nesting import Nest, nested
from pyro_vae.graph.graph import Edge, Graph, Node, Plate
from pyro_vae.graph.layout.boxes import details, plate_label
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


def text(model: Graph, guide: Graph | None, warnings: Sequence[str], title: str, view: View) -> str:
    """A listing: a line a node, plates as indented blocks, then the warnings, then the signs used."""
    lines = [printable(title), *_part("model", model, view)]
    if guide is not None:
        lines += ["", *_part("guide", guide, view)]
    graphs = [graph for graph in (model, guide) if graph is not None]
    used = {node.kind for graph in graphs for node in graph.nodes}
    signs = [f"{sign} {kind.replace('_', ' ')}" for kind, sign in _SIGNS.items() if kind in used]
    lines += ["", *(printable(f"! {warning}") for warning in warnings), "  ".join(signs)]
    return "\n".join(lines) + "\n"


def _part(name: str, graph: Graph, view: View) -> Iterator[str]:
    yield name
    tree, told = nested(graph)
    rows = list(_nest(tree, told, graph, view, "  "))
    if not rows:
        yield "  (no statements)"
    wide = [max((len(row[i]) for row in rows if len(row) > 1), default=0) for i in range(2)]
    for row in rows:
        if len(row) == 1:
            yield row[0]
        else:
            yield f"{row[0]:<{wide[0]}}  {row[1]:<{wide[1]}}  {row[2]}".rstrip()


def _nest(
    nest: Nest, told: dict[str, tuple[Plate, ...]], graph: Graph, view: View, indent: str
) -> Iterator[tuple[str, ...]]:
    """Rows of (name, details, parents), or of a single heading."""
    for node in nest.nodes:
        words = [*details(node, view), *node.marks]
        words += [f"in {plate_label(plate, view)}" for plate in told[node.name]]
        yield (
            f"{indent}{_SIGNS[node.kind]} {printable(node.label)}",
            ", ".join(words),
            _parents(node, graph),
        )
    for inner in nest.inner:
        assert inner.plate is not None
        yield (f"{indent}┌ {plate_label(inner.plate, view)}",)
        yield from _nest(inner, told, graph, view, f"{indent}│ ")
        yield (f"{indent}└",)


def _parents(node: Node, graph: Graph) -> str:
    edges = [edge for edge in graph.edges if edge.target == node.name]
    return "← " + ", ".join(_parent(e, graph.by_name[e.source]) for e in edges) if edges else ""


def _parent(edge: Edge, source: Node) -> str:
    lag = f"[t-{edge.lag}]" if edge.lag else ""
    how = "" if edge.how == "tracked" else f" ({edge.how})"
    return f"{printable(source.label)}{lag}{how}"
