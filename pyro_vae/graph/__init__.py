"""A model and its guide as one plate diagram: as data, and in many formats.

``render_model`` runs a program once, undoes whatever the run changed, and returns a ``ModelGraph``.
"""

from pyro_vae.graph.graph import Edge, Graph, Node, Plate
from pyro_vae.graph.model_graph import ModelGraph
from pyro_vae.graph.render import render_model
from pyro_vae.graph.view import View

__all__ = ["Edge", "Graph", "ModelGraph", "Node", "Plate", "View", "render_model"]
