"""A model and its guide as one graph, and the ways out of it: data, text, pictures, files."""

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pyro_vae.errors import InputError, nearest
from pyro_vae.graph.formats import FORMATS
from pyro_vae.graph.graph import Graph
from pyro_vae.graph.layout import Scene, arrange
from pyro_vae.graph.view import View


@dataclass(frozen=True)
class ModelGraph:
    """A model's graph, its guide's if there is one, and what is wrong with them in words."""

    model: Graph
    guide: Graph | None = None
    warnings: tuple[str, ...] = ()
    title: str = "model"
    view: View = field(default_factory=View)

    def to_dict(self) -> dict[str, Any]:
        """The graph as plain lists, strings and numbers, fit for JSON and for comparison."""
        return {
            "model": self.model.to_dict(),
            "guide": None if self.guide is None else self.guide.to_dict(),
            "warnings": list(self.warnings),
        }

    @cached_property
    def scene(self) -> Scene:
        """The picture as shapes and texts with places."""
        return arrange(self.model, self.guide, self.warnings, self.title, self.view)

    def render(self, ending: str) -> bytes:
        """The graph in the format of a file's ending: svg, png, pdf, dot, mmd, tex, txt or json.

        :raises InputError: there is no such format.
        """
        ending = ending.lower().lstrip(".")
        if ending not in FORMATS:
            raise InputError(
                f"no picture is made for the ending {ending!r}{nearest(ending, FORMATS)}"
            )
        made = FORMATS[ending](self)
        return made.encode() if isinstance(made, str) else made

    def save(self, filename: str | os.PathLike[str]) -> None:
        """Writes the graph in the format that the file's ending names.

        :raises InputError: there is no such format, or the file cannot be written.
        """
        path = Path(filename)
        made = self.render(path.suffix)
        try:
            path.write_bytes(made)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}") from error

    @property
    def svg(self) -> str:
        return self.render("svg").decode()

    @property
    def text(self) -> str:
        return self.render("txt").decode()

    def __str__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"image/svg+xml": self.svg, "text/plain": self.text}
