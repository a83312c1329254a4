"""The graph in Mermaid's language, as GitHub renders it in a ```mermaid block."""

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

# (opening, closing) of a node's outline
_OUTLINES = {"data": ("[", "]"), "parameters": ("[", "]"), "deterministic": ("(((", ")))")}
_CLASSES = {
    "observed": "observed",
    "data": "observed",
    "partially_observed": "partial",
    "factor": "factor",
}


def mermaid(graphs: Mapping[str, Graph], view: View) -> str:
    """Return a flowchart; plates are subgraphs."""
    return "\n".join((*_document(graphs, view), ""))


def _document(graphs: Mapping[str, Graph], view: View) -> Iterator[str]:
    yield "flowchart TD"
    if len(graphs) == 1:
        yield from _graph(graphs["model"], view, "m", "  ")
    else:
        for name, graph in graphs.items():
            yield f'  subgraph {name[0]}["{name}"]'
            yield "    direction TB"
            yield from _graph(graph, view, name[0], "    ")
            yield "  end"
    yield "  classDef observed fill:#8886,stroke-width:1px"
    yield "  classDef partial fill:#8883,stroke-dasharray:4 2"
    yield "  classDef factor fill:#000,color:#fff"
    yield f"  classDef warn stroke:{LIGHT['warn']},stroke-width:3px"


def _graph(graph: Graph, view: View, prefix: str, margin: str) -> Iterator[str]:
    ids = node_ids(graph, prefix)
    plates = {plate.name: f"{prefix}p{i}" for i, plate in enumerate(graph.plates)}
    for entry in nested_entries(graph, view):
        indent = margin + "  " * entry.depth
        if isinstance(entry, NodeEntry):
            for line in _node(entry, ids[entry.node.name]):
                yield indent + line
        elif isinstance(entry, PlateStart):
            yield f"{indent}subgraph {plates[entry.plate.name]}[{_quoted(entry.label)}]"
        else:
            yield f"{indent}end"
    for edge in graph.edges:
        arrow = "-->" if edge.how == "tracked" else "-.->"
        lag = f'|"t-{edge.lag}"|' if edge.lag else ""
        yield f"{margin}{ids[edge.source]} {arrow}{lag} {ids[edge.target]}"


def _node(entry: NodeEntry, name: str) -> Iterator[str]:
    kind = entry.node.kind
    left, right = _OUTLINES.get(kind, ("([", "])"))
    yield f"{name}{left}{_quoted(label_in_words(entry.node), *entry.words)}{right}"
    if kind in _CLASSES:
        yield f"class {name} {_CLASSES[kind]}"
    if has_warning(entry.node):
        yield f"class {name} warn"


def _quoted(*lines: str) -> str:
    """Return lines as one quoted label; signs that Mermaid or Markdown could read are numbers."""
    return '"' + "<br/>".join("".join(map(_safe, printable(line))) for line in lines) + '"'


def _safe(character: str) -> str:
    plain = character.isalnum() or character in " .,:|()=+-/'" or ord(character) > 127
    return character if plain else f"#{ord(character)};"
