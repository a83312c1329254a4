"""The picture as a LaTeX document with TikZ, in the styles of the bayesnet library.

The styles are defined in the document, so that nothing but TikZ is needed. Source of their names:
L. Dietz, J. Luttinen, "tikz-bayesnet", 2010, https://github.com/jluttine/tikz-bayesnet.
"""

import unicodedata
from collections.abc import Iterator

from pyro_vae.graph.layout import Arrow, NodeShape, Panel, PlateShape, Scene, Text
from pyro_vae.graph.layout.fonts import DASH, MINUS, TIMES
from pyro_vae.graph.palette import LIGHT, is_warning

_HEAD = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage{amssymb,textcomp,tikz}
\usepackage[paperwidth=WIDTHbp,paperheight=HEIGHTbp,margin=0pt]{geometry}
\usetikzlibrary{arrows.meta,shapes.geometric}
\renewcommand{\familydefault}{\sfdefault}
\pagestyle{empty}\parindent=0pt\topskip=0pt\parskip=0pt"""

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

_KINDS = {
    "observed": "obs",
    "partially_observed": "partial",
    "deterministic": "det",
    "factor": "factor",
    "data": "data",
    "parameters": "const",
}


def tikz(scene: Scene) -> str:
    """A document of one page as large as the picture; pdflatex compiles it."""
    return "\n".join(_document(scene)) + "\n"


def _document(scene: Scene) -> Iterator[str]:
    # a little more paper than picture, or the page breaks
    width, height = f"{scene.width + 1:.1f}", f"{scene.height + 1:.1f}"
    yield _HEAD.replace("WIDTH", width).replace("HEIGHT", height)
    for name in ("ink", "quiet", "line", "shade", "warn"):
        yield rf"\definecolor{{{name}}}{{HTML}}{{{LIGHT[name][1:].upper()}}}"
    yield r"\begin{document}"
    yield "\\begin{tikzpicture}[x=1bp,y=-1bp,\n" + _STYLES + "]"
    yield rf"\path[use as bounding box] (0,0) rectangle ({scene.width:.2f},{scene.height:.2f});"
    for panel in scene.panels:
        yield from _panel(panel)
    for note in scene.notes:
        yield _label(note)
    yield r"\end{tikzpicture}"
    yield r"\end{document}"


def _panel(panel: Panel) -> Iterator[str]:
    if panel.heading:
        yield _label(panel.heading)
    for plate in panel.plates:
        yield _plate(plate)
    kinds = {shape.node.name: shape.node.kind for shape in panel.nodes}
    for arrow in panel.arrows:
        yield from _arrow(arrow, kinds[arrow.edge.source] == "parameters")
    for shape in panel.nodes:
        yield from _node(shape)
    for plate in panel.plates:
        yield _label(plate.text)


def _plate(shape: PlateShape) -> str:
    r = shape.rect
    style = "plate,loop" if shape.plate.sequential else "plate"
    corners = f"({r.left:.2f},{r.top:.2f}) rectangle ({r.right:.2f},{r.bottom:.2f})"
    return rf"\draw[{style}] {corners};"


def _node(shape: NodeShape) -> Iterator[str]:
    r, (x, y) = shape.rect, shape.center
    style = _KINDS.get(shape.node.kind, "latent") + (",warn" if is_warning(shape.node) else "")
    size = f"minimum width={r.width:.2f}bp,minimum height={r.height:.2f}bp"
    yield rf"\node[{style},{size}] at ({x:.2f},{y:.2f}) {{}};"
    for text in shape.texts:
        yield _label(text, "white" if shape.node.kind == "factor" else None)


def _arrow(arrow: Arrow, soft: bool) -> Iterator[str]:
    style = "edge" if arrow.edge.how == "tracked" else f"edge,{arrow.edge.how}"
    way = " -- ".join(f"({x:.2f},{y:.2f})" for x, y in arrow.points)
    yield rf"\draw[{style}{',soft' if soft else ''},rounded corners=9bp] {way};"
    if arrow.text:
        yield _label(arrow.text)


def _label(text: Text, color: str | None = None) -> str:
    """A line of text, no wider than it was measured."""
    anchor = {"start": "base west", "middle": "base", "end": "base east"}[text.anchor]
    roles = {"name": "ink", "heading": "ink", "note": "warn"}
    color = color or roles.get(text.role, "quiet")
    font = rf"\fontsize{{{text.size:g}bp}}{{{text.size * 1.2:g}bp}}\selectfont"
    font += {"mark": r"\itshape", "heading": r"\bfseries"}.get(text.role, "")
    place = f"({text.x:.2f},{text.y:.2f})"
    return (
        rf"\node[label,anchor={anchor},text={color},font={font}] at {place} {{{latex(text.text)}}};"
    )


def latex(text: str) -> str:
    """``text`` so that pdflatex prints it; letters that its fonts lack are named by their number."""
    return "".join(map(_letter, text))


_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "_": r"\_",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "-": r"{-}",
    TIMES: r"\ensuremath{\times}",
    DASH: r"\textendash{}",
    MINUS: r"\ensuremath{-}",
    "→": r"\ensuremath{\to}",
    "�": "?",
    " ": r"\ ",
}
_GREEK = """
alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho
varsigma sigma tau upsilon phi chi psi omega
""".split()  # noqa: SIM905
_AS_LATIN = {"alpha": "A", "beta": "B", "epsilon": "E", "zeta": "Z", "eta": "H", "iota": "I"}
_AS_LATIN |= {
    "kappa": "K",
    "mu": "M",
    "nu": "N",
    "omicron": "O",
    "rho": "P",
    "tau": "T",
    "chi": "X",
}


def _letter(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if " " < character <= "~":
        return character
    code = ord(character)
    if 0x3B1 <= code <= 0x3C9:
        name = _GREEK[code - 0x3B1]
        return "o" if name == "omicron" else rf"\ensuremath{{\{name}}}"
    if 0x391 <= code <= 0x3A9:
        name = _GREEK[code - 0x391]
        return _AS_LATIN.get(name) or rf"\ensuremath{{\{name.capitalize()}}}"
    plain = unicodedata.normalize("NFKD", character)
    if 0xC0 <= code <= 0x17F and plain[0].isascii():
        return character if code < 0x100 else _letter(plain[0])
    if character.isprintable() and plain != character and all(c.isascii() for c in plain):
        return "".join(map(_letter, plain))
    return rf"[U+{code:04X}]"
