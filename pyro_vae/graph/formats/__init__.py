"""The formats, by a file's ending: each a function from a ``ModelGraph`` to text or bytes.

A further format is a further file with such a function, and a line here.
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyro_vae.graph.formats.dot import dot
from pyro_vae.graph.formats.image import pdf, png
from pyro_vae.graph.formats.mermaid import mermaid
from pyro_vae.graph.formats.svg import svg
from pyro_vae.graph.formats.text import text
from pyro_vae.graph.formats.tikz import tikz

if TYPE_CHECKING:
    from pyro_vae.graph.model_graph import ModelGraph


def _json(graph: "ModelGraph") -> str:
    return json.dumps(graph.to_dict(), indent=2, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[["ModelGraph"], str | bytes]] = {
    "svg": lambda g: svg(g.scene),
    "png": lambda g: png(g.scene),
    "pdf": lambda g: pdf(g.scene),
    "tex": lambda g: tikz(g.scene),
    "dot": lambda g: dot(g.model.grouped(), g.guide and g.guide.grouped(), g.title, g.view),
    "mmd": lambda g: mermaid(g.model.grouped(), g.guide and g.guide.grouped(), g.view),
    "txt": lambda g: text(g.model, g.guide, g.warnings, g.title, g.view),
    "json": _json,
}
