"""Edges that the user declares."""

from collections.abc import Sequence
from dataclasses import replace

from pyro_vae.errors import unknown
from pyro_vae.graph.graph import Edge, Graph


def with_declared(
    pairs: Sequence[tuple[str, str]], model: Graph, guide: Graph | None
) -> tuple[Graph, Graph | None]:
    """Return the graphs with these edges, each where both its ends are.

    Raises:
        InputError: neither graph has both ends.
    """
    for source, target in pairs:
        graphs = [g for g in (model, guide) if g and {source, target} <= g.by_name.keys()]
        if not graphs:
            known = {**(guide.by_name if guide else {}), **model.by_name}
            missing = next((n for n in (source, target) if n not in known), f"{source} -> {target}")
            raise unknown(f"the graph has no node {missing!r}", missing, known, subject="edges")
    return _with_edges(pairs, model), guide and _with_edges(pairs, guide)


def _with_edges(pairs: Sequence[tuple[str, str]], graph: Graph) -> Graph:
    """Return the graph with the declared edges that fit; an untracked one is in doubt no longer."""
    here = [pair for pair in pairs if set(pair) <= graph.by_name.keys()]
    confirmed = [
        replace(e, how="declared") if (e.source, e.target) in here and e.how == "untracked" else e
        for e in graph.edges
    ]
    known = {(e.source, e.target) for e in graph.edges}
    new = [Edge(s, t, how="declared") for s, t in here if (s, t) not in known]
    untracked = {e.target for e in confirmed if e.how == "untracked"}
    confirmed_nodes = {
        n.name: replace(n, marks=tuple(m for m in n.marks if m != "untracked"))
        for n in graph.nodes
        if n.name not in untracked
    }
    return graph.with_nodes(confirmed_nodes).with_edges(*confirmed, *new)
