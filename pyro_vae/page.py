"""One HTML page that loads nothing: its style for screen, phone, dark and paper, and pictures inside it."""

import base64
import io
import re
import warnings
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150  # of a picture, by default
# Pictures of matplotlib are dark on white, also in the dark; grey with half its opacity suits both.
_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:76rem;margin:0 auto;padding:1rem}
h1{font-size:1.7rem;line-height:1.2} h2{font-size:1.25rem;margin:0 0 .5rem}
h3{font-size:1rem;margin:.2rem 0}
section{border-top:1px solid #8888;padding:1rem 0}
p{max-width:60em;overflow-wrap:anywhere}
.runs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1rem 2rem}
.runs>*{min-width:0}
.wide{overflow-x:auto}
table{font-size:.9rem;font-variant-numeric:tabular-nums;border-collapse:collapse}
caption{text-align:left} th,td{padding:.15em .7em;text-align:left;vertical-align:top;white-space:nowrap}
thead th{border-bottom:1px solid #8888}
figure{margin:0;overflow-x:auto} figcaption{font-size:.85rem}
img{max-width:100%;height:auto;background:#fff;border-radius:4px}
svg{max-width:max(100%,34rem);height:auto}
pre{overflow-x:auto;background:#8882;padding:.6rem;border-radius:4px;font-size:.85rem}
pre.command{white-space:pre-wrap;overflow-wrap:anywhere}
@media print{
body{font-size:10pt;max-width:none;padding:0} figure,tr{break-inside:avoid}
.runs{grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr))}
h2,h3{break-after:avoid} svg{max-width:100%}
pre{white-space:pre-wrap;overflow-wrap:anywhere} th,td{white-space:normal}
.wide,figure{overflow:visible}
details::details-content{content-visibility:visible}
}
""".strip()


def page(title: str, body: str) -> str:
    """Return a whole page of HTML.

    Args:
        title: plain text.
        body: HTML, without a heading of the first rank: the title is that.

    >>> "<h1>a &lt; b</h1>" in page("a < b", "<p>so it is</p>")
    True
    """
    shown = escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{shown}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{shown}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def section(title: str, body: str) -> str:
    """Return a part of a page under its heading, plain text; ``body`` is HTML."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def paragraphs(texts: Iterable[str]) -> str:
    """Return plain texts as paragraphs.

    >>> paragraphs(["a < b"])
    '<p>a &lt; b</p>'
    """
    return "".join(f"<p>{escape(text)}</p>" for text in texts)


def wide(table: str) -> str:
    """Return a table, as HTML, that scrolls within a narrow page."""
    return f'<div class="wide">{table}</div>'


def picture(figure: "Figure", alt: str, dpi: int = DPI) -> str:
    """Return a figure as an image inside the page, with ``alt`` for those who do not see it."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # an empty box for a character that the font lacks
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    width = round(figure.get_figwidth() * 110)
    return (
        f'<figure><img alt="{escape(alt)}" style="width:{width}px" '
        f'src="data:image/png;base64,{data}"></figure>'
    )


def diagram(svg: str) -> str:
    """Return an SVG that pyro_vae made as a part of a page; its width follows the screen.

    >>> diagram('<svg width="9" height="5"><title>t</title></svg>')
    '<figure><svg width="9" height="5"><title>t</title></svg></figure>'
    """
    return f"<figure>{re.sub(r'^<[?!][^>]*>', '', svg).strip()}</figure>"
