"""A model and its guide as one graph, and the ways out of it: data, text, pictures, files."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pyro_vae.errors import InputError, unknown
from pyro_vae.graph.abridge import Abridged, abridged
from pyro_vae.graph.autoguide import folded_guide
from pyro_vae.graph.compare import LATENT
from pyro_vae.graph.formats import FORMATS
from pyro_vae.graph.graph import Graph
from pyro_vae.graph.layout import Scene, arrange
from pyro_vae.graph.view import View


@dataclass(frozen=True, repr=False)
class ModelGraph:
    """Hold a model's graph, its guide's if there is one, and warnings about both in words."""

    model: Graph
    guide: Graph | None = None
    warnings: tuple[str, ...] = ()
    title: str = "model"
    view: View = field(default_factory=View)

    @property
    def graphs(self) -> Mapping[str, Graph]:
        """The graphs by name: "model" and, if there is one, "guide"."""
        return {"model": self.model} | ({} if self.guide is None else {"guide": self.guide})

    @cached_property
    def shown(self) -> Abridged:
        """The graphs as pictures and texts show them: few steps of a long loop, a joint draw as one."""
        graphs = dict(self.graphs)
        if self.guide is not None and not self.view.every_latent:
            graphs["guide"] = folded_guide(self.guide)
        shown = Abridged(graphs) if self.view.every_step else abridged(graphs)
        return replace(shown, remarks=(*shown.remarks, *_on_an_empty_guide(self.model, self.guide)))

    @property
    def grouped_graphs(self) -> Mapping[str, Graph]:
        """The shown graphs; single parameters that feed the same nodes share a box."""
        return {name: graph.grouped() for name, graph in self.shown.graphs.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as plain lists, strings and numbers, for JSON or a comparison."""
        return {
            "model": self.model.to_dict(),
            "guide": None if self.guide is None else self.guide.to_dict(),
            "warnings": list(self.warnings),
        }

    @cached_property
    def scene(self) -> Scene:
        """The picture as shapes and texts with places."""
        graphs, remarks = self.shown.graphs, self.shown.remarks
        guide = graphs.get("guide")
        return arrange(graphs["model"], guide, self.warnings, self.title, self.view, remarks)

    def render(self, ending: str) -> bytes:
        """Return the graph in the format of a file's ending: svg, png, pdf, dot, mmd, tex, txt or json.

        Raises:
            InputError: no format has this ending.
        """
        ending = ending.lower().lstrip(".")
        if ending not in FORMATS:
            problem = f"there is no format of diagrams with the ending {ending!r}"
            raise unknown(problem, ending, FORMATS, subject="ending")
        rendered = FORMATS[ending](self)
        return rendered.encode() if isinstance(rendered, str) else rendered

    def save(self, filename: str | os.PathLike[str]) -> None:
        """Write the graph in the format of the file's ending.

        Raises:
            InputError: no format has this ending, or the file cannot be written.
        """
        path = Path(filename)
        if path.suffix.lower().lstrip(".") not in FORMATS:
            raise InputError(
                f"filename {path} has no ending of a known format",
                subject="filename",
                expected=f"one of the endings .{', .'.join(FORMATS)}",
                remedy=f"pass {path.stem}.svg, say",
            )
        content = self.render(path.suffix)
        try:
            path.write_bytes(content)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror}", subject=str(path)) from error

    @property
    def svg(self) -> str:
        return self.render("svg").decode()

    @property
    def text(self) -> str:
        return self.render("txt").decode()

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        parts = [f"{name} of {len(graph.nodes):,} nodes" for name, graph in self.graphs.items()]
        return f"ModelGraph({self.title}: {', '.join(parts)}; print shows it)"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"image/svg+xml": self.svg, "text/plain": self.text}


def _on_an_empty_guide(model: Graph, guide: Graph | None) -> tuple[str, ...]:
    """Return a remark on a guide without statements: whether it needs any."""
    if guide is None or guide.nodes:
        return ()
    latents = [node for node in model.nodes if node.kind in LATENT]
    if not latents:
        return ("the guide draws nothing: the model has no latents",)
    if all("enumerated" in node.marks for node in latents):
        return ("the guide draws nothing: the model sums its latents out",)
    return ("the guide draws nothing",)
