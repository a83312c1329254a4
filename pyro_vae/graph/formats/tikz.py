"""The picture as LaTeX with TikZ, in the styles of the bayesnet library: a page, or for another document.

The styles are defined in the picture, so that nothing but TikZ is needed. Source of their names:
L. Dietz, J. Luttinen, "tikz-bayesnet", 2010, https://github.com/jluttine/tikz-bayesnet.
"""

from collections.abc import Iterator

from pyro_vae.graph.formats.latex import latex
from pyro_vae.graph.formats.painter import Painter, paint
from pyro_vae.graph.layout import Arrow, NodeShape, PlateShape, Scene, Text
from pyro_vae.graph.palette import LIGHT, has_warning

_PREAMBLE = r"""\usepackage[T1]{fontenc}
\usepackage{amssymb,textcomp,tikz}
\usetikzlibrary{arrows.meta,shapes.geometric}"""

_HEAD = rf"""\documentclass{{article}}
\usepackage[utf8]{{inputenc}}
{_PREAMBLE}
\IfFileExists{{lmodern.sty}}{{\usepackage{{lmodern}}}}{{}}
\usepackage[paperwidth=WIDTHbp,paperheight=HEIGHTbp,margin=0pt]{{geometry}}
\pagestyle{{empty}}\parindent=0pt\topskip=0pt\parskip=0pt"""

_STYLES = r"""  latent/.style={ellipse,draw=ink,fill=white,line width=1.1bp,inner sep=0pt,outer sep=0pt},
  obs/.style={latent,fill=shade},
  partial/.style={latent,path picture={\fill[shade] (path picture bounding box.south west)
    rectangle (path picture bounding box.north);}},
  det/.style={latent,double,double distance=1.5bp},
  const/.style={rectangle,rounded corners=3bp,draw=quiet,fill=white,inner sep=0pt,outer sep=0pt},
  data/.style={const,draw=ink,fill=shade},
  factor/.style={const,draw=ink,fill=ink},
  warn/.style={draw=warn,line width=2bp},
  plate/.style={draw=line,rounded corners=8bp,line width=.9bp},
  loop/.style={dash pattern=on 5bp off 3bp},
  edge/.style={draw=ink,line width=1bp,-{Latex[length=7bp,width=6bp]}},
  soft/.style={draw=quiet}, untracked/.style={draw=warn,dashed}, declared/.style={dotted},
  label/.style={inner sep=0pt,outer sep=0pt}"""

BP_PER_CM = 72 / 2.54
_DEFINED = ("ink", "quiet", "line", "shade", "warn")  # colours
_KINDS = {
    "observed": "obs",
    "partially_observed": "partial",
    "deterministic": "det",
    "factor": "factor",
    "data": "data",
    "parameters": "const",
}


def document(scene: Scene) -> str:
    """Return a document of one page as large as the picture; pdflatex compiles it."""
    # The paper is a little larger than the picture, or the page breaks.
    width, height = f"{scene.width + 1:.1f}", f"{scene.height + 1:.1f}"
    head = _HEAD.replace("WIDTH", width).replace("HEIGHT", height)
    return "\n".join((head, r"\begin{document}", *_picture(scene), r"\end{document}", ""))


def picture(scene: Scene) -> str:
    """Return a ``tikzpicture`` for ``\\input``; comments say what the document's preamble needs."""
    needed = (f"%   {line}" for line in _PREAMBLE.split("\n"))
    size = f"{scene.width / BP_PER_CM:.1f} x {scene.height / BP_PER_CM:.1f} cm"
    head = (
        "% \\input this file; the preamble needs",
        *needed,
        f"% The picture is {size}; \\resizebox{{\\linewidth}}{{!}}{{\\input{{...}}}} fits it to the page.",
    )
    return "\n".join((*head, *_picture(scene), ""))


def _picture(scene: Scene) -> Iterator[str]:
    painter = _TikzPainter()
    paint(scene, painter)
    yield "\\begin{tikzpicture}[x=1bp,y=-1bp,\n" + _STYLES + "]"
    for name in _DEFINED:  # as of here, they end with the picture
        yield rf"\definecolor{{{name}}}{{HTML}}{{{LIGHT[name][1:].upper()}}}"
    yield rf"\path[use as bounding box] (0,0) rectangle ({scene.width:.2f},{scene.height:.2f});"
    yield from painter.lines
    yield r"\end{tikzpicture}"


class _TikzPainter(Painter):
    """Write TikZ commands in the document's styles."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def plate(self, plate: PlateShape) -> None:
        style, r = "plate,loop" if plate.plate.sequential else "plate", plate.rect
        corners = f"({r.left:.2f},{r.top:.2f}) rectangle ({r.right:.2f},{r.bottom:.2f})"
        self.lines.append(rf"\draw[{style}] {corners};")

    def outline(self, shape: NodeShape) -> None:
        r, (x, y) = shape.rect, shape.center
        style = _KINDS.get(shape.node.kind, "latent") + (",warn" if has_warning(shape.node) else "")
        size = f"minimum width={r.width:.2f}bp,minimum height={r.height:.2f}bp"
        self.lines.append(rf"\node[{style},{size}] at ({x:.2f},{y:.2f}) {{}};")

    def arrow(self, arrow: Arrow, color: str) -> None:
        style = "edge" if arrow.edge.how == "tracked" else f"edge,{arrow.edge.how}"
        soft = ",soft" if color == "quiet" else ""
        points = " -- ".join(f"({x:.2f},{y:.2f})" for x, y in arrow.points)
        self.lines.append(rf"\draw[{style}{soft},rounded corners=9bp] {points};")

    def text(self, text: Text, color: str, *, covers: bool = False) -> None:
        anchor = {"start": "base west", "middle": "base", "end": "base east"}[text.anchor]
        color = "white" if color == "paper" else color
        font = r"\sffamily" + rf"\fontsize{{{text.size:g}bp}}{{{text.size * 1.2:g}bp}}\selectfont"
        font += {"mark": r"\itshape", "heading": r"\bfseries"}.get(text.role, "")
        style = f"label,anchor={anchor},text={color},font={font}" + (
            ",fill=white" if covers else ""
        )
        place = f"({text.x:.2f},{text.y:.2f})"
        parts = text.text.split("$") if text.is_math else [text.text]
        words = "".join(f"${p}$" if i % 2 else latex(p) for i, p in enumerate(parts))
        self.lines.append(rf"\node[{style}] at {place} {{{words}}};")
