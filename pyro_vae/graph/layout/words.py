"""The words of a picture outside its nodes: warnings below it, and a description for screen readers."""

from collections.abc import Iterator, Sequence

from pyro_vae.graph.graph import Graph
from pyro_vae.graph.layout.fonts import LINE, printable, text_width
from pyro_vae.graph.layout.scene import Text

SIZE = 9.5


def notes(
    warnings: Sequence[str], remarks: Sequence[str], left: float, right: float, top: float
) -> Iterator[Text]:
    """Return warnings and remarks as lines of text, wrapped to the width between ``left`` and ``right``."""
    y = top + 12.0
    words = [*((f"! {warning}", "note") for warning in warnings), *((r, "detail") for r in remarks)]
    for note, role in words:
        for line in _wrapped(printable(note), right - left):
            y += LINE * SIZE
            yield Text(line, left, y, SIZE, role, "start")


def _wrapped(text: str, width: float) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and text_width(longer, SIZE) > width:
            yield line
            longer = f"   {word}"
        line = longer
    yield line


def description(model: Graph, guide: Graph | None) -> str:
    """Return the picture in words, for readers who do not see it."""
    graphs = [("Model", model)] + ([("Guide", guide)] if guide is not None else [])
    return " ".join(f"{name}: {'; '.join(_clauses(graph))}." for name, graph in graphs)


def _clauses(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        parents = ", ".join(dict.fromkeys(graph.parents(node.name)))
        plates = ", ".join(node.plates)
        yield (
            f"{node.name} ({node.kind.replace('_', ' ')}"
            + (f", {node.distribution}" if node.distribution else "")
            + (f", in plate {plates}" if plates else "")
            + ")"
            + (f" depends on {parents}" if parents else "")
        )
