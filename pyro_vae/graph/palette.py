"""The colours of a picture, for every format."""

from pyro_vae.graph.graph import Node

LIGHT = {
    "paper": "#ffffff",
    "ink": "#1a1a1a",
    "quiet": "#5f6368",
    "line": "#8a8f98",
    "shade": "#d5d8dd",
    "warn": "#b3261e",
}
DARK = {
    "paper": "#14171c",
    "ink": "#e8eaed",
    "quiet": "#a7adb5",
    "line": "#767d87",
    "shade": "#454b55",
    "warn": "#ff8a80",
}
WARNINGS = ("untracked", "not in guide", "not in model", "observed in model", "computed in model")
_FILLS = {"observed": "shade", "data": "shade", "factor": "ink"}
_TEXTS = {"name": "ink", "heading": "ink", "note": "warn"}


def has_warning(node: Node) -> bool:
    """Return whether one of the node's marks says that something is wrong."""
    return any(mark in WARNINGS for mark in node.marks)


def fill_color(node: Node) -> str:
    """Return the name of the colour inside the node's outline."""
    return _FILLS.get(node.kind, "paper")


def line_color(node: Node) -> str:
    """Return the name of the outline's colour."""
    return "warn" if has_warning(node) else "quiet" if node.kind == "parameters" else "ink"


def edge_color(how: str, source: Node) -> str:
    """Return the name of an edge's colour; edges from parameters stand back."""
    return "warn" if how == "untracked" else "quiet" if source.kind == "parameters" else "ink"


def text_color(role: str, node: Node | None = None) -> str:
    """Return the name of the colour of a text that has this role, in a node's label or outside."""
    if node is not None and node.kind == "factor":
        return "paper"
    if node is not None and role == "mark" and has_warning(node):
        return "warn"
    return _TEXTS.get(role, "quiet")
