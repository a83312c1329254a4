"""The graph in Graphviz' language."""

from collections.abc import Iterator, Mapping

from pyro_vae.graph.formats.nesting import (
    NodeEntry,
    PlateStart,
    label_in_words,
    nested_entries,
    node_ids,
)
from pyro_vae.graph.graph import Graph
from pyro_vae.graph.layout.fonts import printable
from pyro_vae.graph.palette import LIGHT, has_warning
from pyro_vae.graph.view import View

_PLATE = "style=rounded; penwidth=1; labelloc=b; labeljust=r;"
_SHAPES = {"data": "box", "parameters": "box", "factor": "box"}


def dot(graphs: Mapping[str, Graph], title: str, view: View) -> str:
    """Return a digraph; plates are clusters."""
    return "\n".join((*_document(graphs, title, view), ""))


def _document(graphs: Mapping[str, Graph], title: str, view: View) -> Iterator[str]:
    yield f"digraph {_quoted(title)} {{"
    yield '  graph [fontname="DejaVu Sans"];'
    yield '  node [fontname="DejaVu Sans", style=filled, fillcolor=white]; edge [arrowsize=0.7];'
    if len(graphs) == 1:
        yield from _graph(graphs["model"], view, "m", "  ")
    else:
        for name, graph in graphs.items():
            yield f'  subgraph cluster_{name} {{ label="{name}"; labelloc=t; labeljust=c; penwidth=0;'
            yield from _graph(graph, view, name[0], "    ")
            yield "  }"
    yield "}"


def _graph(graph: Graph, view: View, prefix: str, margin: str) -> Iterator[str]:
    ids = node_ids(graph, prefix)
    for entry in nested_entries(graph, view):
        indent = margin + "  " * entry.depth
        if isinstance(entry, NodeEntry):
            yield f"{indent}{ids[entry.node.name]} [{_attributes(entry)}];"
        elif isinstance(entry, PlateStart):
            yield f"{indent}subgraph cluster_{ids[entry.first.name]}_{len(indent)} {{"
            yield f"{indent}  label={_quoted(entry.label)}; {_PLATE}"
        else:
            yield f"{indent}}}"
    for edge in graph.edges:
        style = {"untracked": "dashed", "declared": "dotted"}.get(edge.how, "solid")
        lag = f', label="t-{edge.lag}"' if edge.lag else ""
        yield f"{margin}{ids[edge.source]} -> {ids[edge.target]} [style={style}{lag}];"


def _attributes(entry: NodeEntry) -> str:
    node = entry.node
    attributes = [
        f"label={_quoted(label_in_words(node), *entry.words)}",
        f"shape={_SHAPES.get(node.kind, 'ellipse')}",
    ]
    if node.kind == "deterministic":
        attributes.append("peripheries=2")
    if has_warning(node):
        attributes.append(f'color="{LIGHT["warn"]}", penwidth=2')
    fill = LIGHT["shade"] if node.kind in ("observed", "data") else "white"
    if node.kind == "partially_observed":
        fill = f"{LIGHT['shade']};0.5:white"
    return ", ".join((*attributes, f'fillcolor="{fill}"'))


def _quoted(*lines: str) -> str:
    """Return lines as one DOT string."""
    safe = (printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(safe) + '"'
