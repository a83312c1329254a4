"""What things look like, for every backend that paints."""

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
WARNINGS = ("untracked", "not in guide", "not in model", "observed in guide", "observed in model")


def is_warning(node: Node) -> bool:
    """Whether a mark of the node's says that something is wrong."""
    return any(mark in WARNINGS for mark in node.marks)
