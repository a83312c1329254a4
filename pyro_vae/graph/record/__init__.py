"""Record a run of a model or guide as a graph."""

from pyro_vae.graph.record.record import Arguments, graph_and_warnings

__all__ = ["Arguments", "graph_and_warnings"]
