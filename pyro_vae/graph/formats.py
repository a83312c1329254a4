"""The formats, by a file's ending: each a function from a ``ModelGraph`` to text or bytes."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pyro_vae.graph.image import pdf, png
from pyro_vae.graph.svg import svg

if TYPE_CHECKING:
    from pyro_vae.graph.model_graph import ModelGraph


def _json(graph: "ModelGraph") -> str:
    return json.dumps(graph.to_dict(), indent=2, ensure_ascii=False) + "\n"


FORMATS: Mapping[str, Callable[["ModelGraph"], str | bytes]] = {
    "svg": lambda graph: svg(graph.scene),
    "png": lambda graph: png(graph.scene),
    "pdf": lambda graph: pdf(graph.scene),
    "json": _json,
}
