"""Where everything in the picture stands: one step of the layout a file."""

from pyro_vae.graph.layout.arrange import arrange
from pyro_vae.graph.layout.scene import (
    Arrow,
    NodeShape,
    Panel,
    PlateShape,
    Point,
    Rect,
    Scene,
    Text,
)

__all__ = ["Arrow", "NodeShape", "Panel", "PlateShape", "Point", "Rect", "Scene", "Text", "arrange"]
