"""The graph in Mermaid's language, as GitHub renders it in a ```mermaid block."""

from collections.abc import Iterator

from pyro_vae.graph.formats.nesting import Nest, nested
from pyro_vae.graph.graph import Graph, Plate
from pyro_vae.graph.layout.boxes import details, plate_label
from pyro_vae.graph.layout.fonts import printable
from pyro_vae.graph.palette import is_warning
from pyro_vae.graph.view import View

# (opening, closing) of a node's outline
_OUTLINES = {"data": ("[", "]"), "parameters": ("[", "]"), "deterministic": ("(((", ")))")}


def mermaid(model: Graph, guide: Graph | None, view: View) -> str:
    """A flowchart; plates are subgraphs, and those that cross others are named in their nodes."""
    return "\n".join(_lines(model, guide, view)) + "\n"


def _lines(model: Graph, guide: Graph | None, view: View) -> Iterator[str]:
    yield "flowchart TD"
    if guide is None:
        yield from _graph(model, view, "m", "  ")
    else:
        for part, graph in (("model", model), ("guide", guide)):
            yield f'  subgraph {part[0]}["{part}"]'
            yield "    direction TB"
            yield from _graph(graph, view, part[0], "    ")
            yield "  end"
    yield "  classDef observed fill:#8886,stroke-width:1px"
    yield "  classDef partial fill:#8883,stroke-dasharray:4 2"
    yield "  classDef factor fill:#000,color:#fff"
    yield "  classDef warn stroke:#b3261e,stroke-width:3px"


def _graph(graph: Graph, view: View, prefix: str, indent: str) -> Iterator[str]:
    ids = {node.name: f"{prefix}{i}" for i, node in enumerate(graph.nodes)}
    plates = {plate.name: f"{prefix}p{i}" for i, plate in enumerate(graph.plates)}
    tree, told = nested(graph)
    yield from _nest(tree, told, ids, plates, view, indent)
    for edge in graph.edges:
        arrow = "-->" if edge.how == "tracked" else "-.->"
        lag = f'|"t-{edge.lag}"|' if edge.lag else ""
        yield f"{indent}{ids[edge.source]} {arrow}{lag} {ids[edge.target]}"


def _nest(
    nest: Nest,
    told: dict[str, tuple[Plate, ...]],
    ids: dict[str, str],
    plates: dict[str, str],
    view: View,
    indent: str,
) -> Iterator[str]:
    for node in nest.nodes:
        words = [node.label, *details(node, view), *node.marks]
        words += [f"in {plate_label(plate, view)}" for plate in told[node.name]]
        left, right = _OUTLINES.get(node.kind, ("([", "])"))
        yield f"{indent}{ids[node.name]}{left}{_quoted(*words)}{right}"
        styles = {"observed": "observed", "data": "observed", "partially_observed": "partial"}
        style = {**styles, "factor": "factor"}.get(node.kind)
        if style:
            yield f"{indent}class {ids[node.name]} {style}"
        if is_warning(node):
            yield f"{indent}class {ids[node.name]} warn"
    for inner in nest.inner:
        assert inner.plate is not None
        yield f"{indent}subgraph {plates[inner.plate.name]}[{_quoted(plate_label(inner.plate, view))}]"
        yield from _nest(inner, told, ids, plates, view, indent + "  ")
        yield f"{indent}end"


def _quoted(*lines: str) -> str:
    """Lines as one quoted label: what Mermaid or Markdown would read as markup is written by number."""
    return '"' + "<br/>".join("".join(map(_safe, printable(line))) for line in lines) + '"'


def _safe(character: str) -> str:
    plain = character.isalnum() or character in " .,:|()=+-/'" or ord(character) > 127
    return character if plain else f"#{ord(character)};"
