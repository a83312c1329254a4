"""Labels that the user gives nodes in place of their names."""

from collections.abc import Mapping
from dataclasses import replace

from pyro_vae.errors import InputError, unknown
from pyro_vae.graph.graph import Graph
from pyro_vae.graph.layout.mathtext import is_math, math_width


def check_labels(labels: Mapping[str, str], *graphs: Graph | None) -> None:
    """Check that each label is of a node, and can be set.

    Raises:
        InputError: one is not.
    """
    known = list(dict.fromkeys(name for graph in graphs if graph for name in graph.by_name))
    for name, label in labels.items():
        if name not in known:
            raise unknown(f"the graph has no node {name!r}", name, known, subject="labels")
        if not is_math(label):
            continue
        try:
            if label.count("$") % 2:
                raise ValueError("a dollar sign is missing")
            math_width(label, 10.0)
        except ValueError as error:
            reason = str(error).strip().split("\n")[-1].split(", found")[0]
            reason = reason.removeprefix("ParseFatalException: ").removeprefix("ParseException: ")
            raise InputError(
                f"the label {label!r} of {name!r} cannot be set: {reason}",
                subject="labels",
                expected=r"text with mathematics between dollar signs, such as r'$\mu_j$'",
            ) from error


def with_labels(graph: Graph, labels: Mapping[str, str]) -> Graph:
    """Return the graph whose nodes have these labels."""
    named = {n: replace(graph.by_name[n], caption=labels[n]) for n in labels if n in graph.by_name}
    return graph.with_nodes(named)
