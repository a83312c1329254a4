"""The place of everything in a picture: one step of the layout per file."""

from pyro_vae.graph.layout.arrange import arrange
from pyro_vae.graph.layout.scene import (
    XY,
    Arrow,
    NodeShape,
    Panel,
    PlateShape,
    Rect,
    Scene,
    Text,
)

__all__ = ["XY", "Arrow", "NodeShape", "Panel", "PlateShape", "Rect", "Scene", "Text", "arrange"]
