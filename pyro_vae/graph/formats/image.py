"""The picture as PNG and PDF, painted by matplotlib; import this module only to paint one."""

import io
import warnings
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyBboxPatch, Patch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path

from pyro_vae.graph.formats.painter import Painter, paint
from pyro_vae.graph.layout import XY, Arrow, NodeShape, PlateShape, Scene, Text
from pyro_vae.graph.layout.fonts import FAMILY
from pyro_vae.graph.palette import LIGHT, fill_color, has_warning, line_color

PNG_DPI = 216  # three pixels a point
_LEFT_OUT = {"png": ("Software",), "pdf": ("CreationDate", "Producer", "Creator")}
_DASHED, _DOTTED = (0, (5, 3)), (0, (1.5, 2.5))


def image(scene: Scene, ending: str) -> bytes:
    """Return the picture as PNG, or as PDF with selectable text: the same bytes for the same scene."""
    metadata = {"Title": scene.title} | dict.fromkeys(_LEFT_OUT[ending])
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a sign shows where
        mpl.rcdefaults()  # not the user's: the same scene gives the same picture
        mpl.rcParams["pdf.fonttype"] = 42  # text that can be selected
        figure = Figure(figsize=(scene.width / 72, scene.height / 72), facecolor=LIGHT["paper"])
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, scene.width)
        axes.set_ylim(scene.height, 0)
        axes.set_axis_off()
        paint(scene, _ImagePainter(axes))
        file = io.BytesIO()
        figure.savefig(file, format=ending, dpi=PNG_DPI, metadata=metadata)
    return file.getvalue()


class _ImagePainter(Painter):
    """Add matplotlib's artists to axes whose unit is a point."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.count = 0  # artists so far: matplotlib would paint all texts last

    def plate(self, plate: PlateShape) -> None:
        r, dashes = plate.rect, _DASHED if plate.plate.sequential else "-"
        box = "round,pad=0,rounding_size=8"
        border = FancyBboxPatch((r.left, r.top), r.width, r.height, boxstyle=box)
        self._add(border, fill=False, edgecolor=LIGHT["line"], linewidth=1.0, linestyle=dashes)

    def outline(self, shape: NodeShape) -> None:
        node, line = shape.node, LIGHT[line_color(shape.node)]
        width = 2.0 if has_warning(node) else 1.2
        fill = LIGHT[fill_color(node)]
        self._add(_outline(shape), facecolor=fill, edgecolor=line, linewidth=width)
        if node.kind == "partially_observed":
            self._add(_left_half(shape), facecolor=LIGHT["shade"], edgecolor="none")
            self._add(_outline(shape), fill=False, edgecolor=line, linewidth=width)
        if node.kind == "deterministic":
            self._add(_outline(shape, -3.0), fill=False, edgecolor=line, linewidth=0.8)

    def arrow(self, arrow: Arrow, color: str) -> None:
        dashes = {"untracked": _DASHED, "declared": _DOTTED}.get(arrow.edge.how, "-")
        line = PathPatch(_path(arrow))
        self._add(line, fill=False, edgecolor=LIGHT[color], linewidth=1.1, linestyle=dashes)
        head = Polygon(arrow.head, closed=True)
        self._add(head, facecolor=LIGHT[color], edgecolor="none")

    def text(self, text: Text, color: str, *, covers: bool = False) -> None:
        if covers:
            r = text.rect.grown(1.5)
            self._add(Rectangle((r.left, r.top), r.width, r.height), color=LIGHT["paper"])
        self.count += 1
        self.axes.text(
            text.x,
            text.y,
            text.text,
            fontsize=text.size,
            family=FAMILY,
            weight="bold" if text.role == "heading" else "normal",
            style="italic" if text.role == "mark" else "normal",
            color=LIGHT[color],
            ha={"start": "left", "middle": "center", "end": "right"}[text.anchor],
            va="baseline",
            parse_math=text.is_math,
            zorder=self.count,
        )

    def _add(self, patch: Patch, **style: Any) -> None:
        self.count += 1
        patch.set(zorder=self.count, **style)
        self.axes.add_patch(patch)


def _outline(shape: NodeShape, grow: float = 0.0) -> Patch:
    r = shape.rect.grown(grow)
    if shape.outline == "ellipse":
        return Ellipse(shape.center, r.width, r.height)
    box = "round,pad=0,rounding_size=3"
    return FancyBboxPatch((r.left, r.top), r.width, r.height, boxstyle=box)


def _left_half(shape: NodeShape) -> Patch:
    r, arc = shape.rect, Path.arc(90, 270)
    vertices = shape.center + np.asarray(arc.vertices) * (r.width / 2, r.height / 2)
    return PathPatch(Path(vertices, arc.codes))


def _path(arrow: Arrow) -> Path:
    codes: list[Any] = []
    points: list[XY] = []
    for i, step in enumerate(arrow.path):
        points += step
        codes += [Path.MOVETO] if i == 0 else [Path.LINETO] if len(step) == 1 else [Path.CURVE3] * 2
    return Path(points, codes)
