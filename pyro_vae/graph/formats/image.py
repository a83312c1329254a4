"""The picture as PNG and PDF, painted by matplotlib; it is imported when a picture is asked for."""

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from pyro_vae.graph.layout import Arrow, NodeShape, Panel, PlateShape, Point, Scene, Text
from pyro_vae.graph.layout.fonts import FAMILY
from pyro_vae.graph.palette import LIGHT, is_warning

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PNG_DPI = 216  # three pixels a point
_COLOR = {"detail": "quiet", "mark": "quiet", "plate": "quiet", "lag": "quiet", "note": "warn"}


def png(scene: Scene) -> bytes:
    """The picture as PNG, three pixels a point."""
    return _painted(scene, "png", dpi=PNG_DPI, metadata={"Title": scene.title, "Software": None})


def pdf(scene: Scene) -> bytes:
    """The picture as PDF with selectable text."""
    about = {"Title": scene.title, "CreationDate": None, "Producer": None, "Creator": None}
    return _painted(scene, "pdf", metadata=about)


def _painted(scene: Scene, kind: str, **options: Any) -> bytes:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

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
        for panel in scene.panels:
            _panel(axes, panel)
        for note in scene.notes:
            _text(axes, note)
        file = io.BytesIO()
        figure.savefig(file, format=kind, **options)
    return file.getvalue()


def _panel(axes: "Axes", panel: Panel) -> None:
    if panel.heading:
        _text(axes, panel.heading, weight="bold")
    for plate in panel.plates:
        _plate(axes, plate)
    kinds = {shape.node.name: shape.node.kind for shape in panel.nodes}
    for arrow in panel.arrows:
        _arrow(axes, arrow, kinds[arrow.edge.source] == "parameters")
    for shape in panel.nodes:
        _node(axes, shape)
    for plate in panel.plates:
        _text(axes, plate.text)


def _plate(axes: "Axes", shape: PlateShape) -> None:
    from matplotlib.patches import FancyBboxPatch

    r = shape.rect
    axes.add_patch(
        FancyBboxPatch(
            (r.left, r.top),
            r.width,
            r.height,
            boxstyle="round,pad=0,rounding_size=8",
            fill=False,
            edgecolor=LIGHT["line"],
            linewidth=1.0,
            linestyle=(0, (5, 3)) if shape.plate.sequential else "-",
            zorder=1,
        )
    )


def _node(axes: "Axes", shape: NodeShape) -> None:
    node = shape.node
    warn = is_warning(node)
    edge = LIGHT["warn" if warn else "quiet" if node.kind == "parameters" else "ink"]
    fill = {"observed": "shade", "data": "shade", "factor": "ink"}.get(node.kind, "paper")
    width = 2.0 if warn else 1.2
    axes.add_patch(_outline(shape, facecolor=LIGHT[fill], edgecolor=edge, linewidth=width))
    if node.kind == "partially_observed":
        axes.add_patch(_left_half(shape))
        axes.add_patch(_outline(shape, fill=False, edgecolor=edge, linewidth=width))
    if node.kind == "deterministic":
        axes.add_patch(_outline(shape, -3.0, fill=False, edgecolor=edge, linewidth=0.8))
    for text in shape.texts:
        color = "paper" if node.kind == "factor" else None
        _text(axes, text, color="warn" if warn and text.role == "mark" else color)


def _outline(shape: NodeShape, grow: float = 0.0, **style: Any) -> Any:
    from matplotlib.patches import Ellipse, FancyBboxPatch

    r = shape.rect.grown(grow)
    if shape.outline == "ellipse":
        return Ellipse(shape.center, r.width, r.height, zorder=3, **style)
    box = "round,pad=0,rounding_size=3"
    return FancyBboxPatch((r.left, r.top), r.width, r.height, boxstyle=box, zorder=3, **style)


def _left_half(shape: NodeShape) -> Any:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    r = shape.rect
    arc = Path.arc(90, 270)
    vertices = shape.center + np.asarray(arc.vertices) * (r.width / 2, r.height / 2)
    path = Path(vertices, arc.codes)
    return PathPatch(path, facecolor=LIGHT["shade"], edgecolor="none", zorder=3)


def _arrow(axes: "Axes", arrow: Arrow, soft: bool) -> None:
    from matplotlib.patches import PathPatch, Polygon, Rectangle
    from matplotlib.path import Path

    how = arrow.edge.how
    color = LIGHT["warn" if how == "untracked" else "quiet" if soft else "ink"]
    dashes = {"untracked": (0, (5, 3)), "declared": (0, (1.5, 2.5))}.get(how, "-")
    codes: list[Any] = []
    points: list[Point] = []
    for i, step in enumerate(arrow.path):
        points += step
        codes += [Path.MOVETO] if i == 0 else [Path.LINETO] if len(step) == 1 else [Path.CURVE3] * 2
    axes.add_patch(
        PathPatch(
            Path(points, codes),
            fill=False,
            edgecolor=color,
            linewidth=1.1,
            linestyle=dashes,
            zorder=2,
        )
    )
    axes.add_patch(Polygon(arrow.head, closed=True, facecolor=color, edgecolor="none", zorder=2))
    if arrow.text:
        r = arrow.text.rect.grown(1.5)
        paper = LIGHT["paper"]
        axes.add_patch(Rectangle((r.left, r.top), r.width, r.height, color=paper, zorder=2.5))
        _text(axes, arrow.text)


def _text(axes: "Axes", text: Text, color: str | None = None, weight: str = "normal") -> None:
    axes.text(
        text.x,
        text.y,
        text.text,
        fontsize=text.size,
        family=FAMILY,
        weight=weight,
        style="italic" if text.role == "mark" else "normal",
        color=LIGHT[color or _COLOR.get(text.role, "ink")],
        ha={"start": "left", "middle": "center", "end": "right"}[text.anchor],
        va="baseline",
        parse_math=False,
        zorder=4,
    )
