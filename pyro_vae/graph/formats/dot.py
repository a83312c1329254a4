"""The graph in Graphviz' language."""

from collections.abc import Iterator

from pyro_vae.graph.formats.nesting import Nest, nested
from pyro_vae.graph.graph import Graph, Plate
from pyro_vae.graph.layout.boxes import details, plate_label
from pyro_vae.graph.layout.fonts import printable
from pyro_vae.graph.palette import LIGHT, is_warning
from pyro_vae.graph.view import View

_PLATE = "style=rounded; penwidth=1; labelloc=b; labeljust=r;"
_SHAPES = {"data": "box", "parameters": "box", "factor": "box"}


def dot(model: Graph, guide: Graph | None, title: str, view: View) -> str:
    """A digraph; plates are clusters, and those that cross others are named in their nodes."""
    return "\n".join(_lines(model, guide, title, view)) + "\n"


def _lines(model: Graph, guide: Graph | None, title: str, view: View) -> Iterator[str]:
    yield f"digraph {_quoted(title)} {{"
    yield '  graph [fontname="DejaVu Sans"];'
    yield '  node [fontname="DejaVu Sans", style=filled, fillcolor=white]; edge [arrowsize=0.7];'
    if guide is None:
        yield from _graph(model, view, "m", "  ")
    else:
        for part, graph in (("model", model), ("guide", guide)):
            yield f'  subgraph cluster_{part} {{ label="{part}"; labelloc=t; labeljust=c; penwidth=0;'
            yield from _graph(graph, view, part[0], "    ")
            yield "  }"
    yield "}"


def _graph(graph: Graph, view: View, prefix: str, indent: str) -> Iterator[str]:
    ids = {node.name: f"{prefix}{i}" for i, node in enumerate(graph.nodes)}
    tree, told = nested(graph)
    yield from _nest(tree, told, ids, view, indent)
    for edge in graph.edges:
        style = {"untracked": "dashed", "declared": "dotted"}.get(edge.how, "solid")
        lag = f', label="t-{edge.lag}"' if edge.lag else ""
        yield f"{indent}{ids[edge.source]} -> {ids[edge.target]} [style={style}{lag}];"


def _nest(
    nest: Nest, told: dict[str, tuple[Plate, ...]], ids: dict[str, str], view: View, indent: str
) -> Iterator[str]:
    for node in nest.nodes:
        words = [node.label, *details(node, view), *node.marks]
        words += [f"in {plate_label(plate, view)}" for plate in told[node.name]]
        fill = LIGHT["shade"] if node.kind in ("observed", "data") else "white"
        looks = [f"label={_quoted(*words)}", f"shape={_SHAPES.get(node.kind, 'ellipse')}"]
        if node.kind == "partially_observed":
            fill = f"{LIGHT['shade']};0.5:white"
        if node.kind == "deterministic":
            looks.append("peripheries=2")
        if is_warning(node):
            looks.append(f'color="{LIGHT["warn"]}", penwidth=2')
        yield f'{indent}{ids[node.name]} [{", ".join(looks)}, fillcolor="{fill}"];'
    for inner in nest.inner:
        assert inner.plate is not None
        first = ids[_first(inner)]
        yield f"{indent}subgraph cluster_{first}_{len(indent)} {{"
        yield f"{indent}  label={_quoted(plate_label(inner.plate, view))}; {_PLATE}"
        yield from _nest(inner, told, ids, view, indent + "  ")
        yield f"{indent}}}"


def _first(nest: Nest) -> str:
    return nest.nodes[0].name if nest.nodes else _first(nest.inner[0])


def _quoted(*lines: str) -> str:
    """Lines as one DOT string."""
    safe = (printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(safe) + '"'
