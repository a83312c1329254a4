"""The formats, by a file's ending: each a function from a ``ModelGraph`` to text or bytes.

A further format is a further file and a line here: a painter for a picture (as in ``svg.py``), or a loop
over the nested entries for a text (as in ``dot.py``).
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyro_vae.graph.formats.dot import dot
from pyro_vae.graph.formats.mermaid import mermaid
from pyro_vae.graph.formats.svg import svg
from pyro_vae.graph.formats.text import text
from pyro_vae.graph.formats.tikz import document, picture

if TYPE_CHECKING:
    from pyro_vae.graph.model_graph import ModelGraph


def _image(graph: "ModelGraph", ending: str) -> bytes:
    from pyro_vae.graph.formats.image import image  # imports matplotlib

    return image(graph.scene, ending)


def _json(graph: "ModelGraph") -> str:
    return json.dumps(graph.to_dict(), indent=2, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[["ModelGraph"], str | bytes]] = {
    "svg": lambda g: svg(g.scene),
    "png": lambda g: _image(g, "png"),
    "pdf": lambda g: _image(g, "pdf"),
    "tex": lambda g: document(g.scene),
    "tikz": lambda g: picture(g.scene),
    "dot": lambda g: dot(g.grouped_graphs, g.title, g.view),
    "mmd": lambda g: mermaid(g.grouped_graphs, g.view),
    "txt": lambda g: text(g.shown, g.warnings, g.title, g.view),
    "json": _json,
}
