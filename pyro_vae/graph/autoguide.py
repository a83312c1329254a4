"""What a guide draws together, shown as one node: the latents of Pyro's AutoGuides, and of made guides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from pyro.infer.autoguide import AutoGuide, AutoGuideList

from pyro_vae.graph.graph import Graph, Node
from pyro_vae.graph.palette import has_warning
from pyro_vae.program.closures import unwrapped

MOST_NAMES = 6  # of the latents of one node
_TOGETHER = {
    "Delta": "point estimate",
    "LowRankMultivariateNormal": "low-rank multivariate normal",
    "MultivariateNormal": "multivariate normal",
    "MultivariateStudentT": "multivariate Student t",
    "Normal": "independent normals",
    "SkewedStudentT": "skewed multivariate Student t",
    "TransformedDistribution": "normalizing flow",
}
_APART = {"Delta": "point estimates", "Normal": "independent normals"}


def with_parts(graph: Graph, guide: Callable[..., Any]) -> Graph:
    """Return a guide's graph in which each latent knows the AutoGuide that draws it, if one does."""
    parts = dict(_parts(unwrapped(guide)))
    known = {}
    for node in graph.nodes:
        parents = [graph.by_name[name] for name in graph.parents(node.name)]
        parameters = [p.name for p in parents if p.kind == "parameters"]
        part = next((p for p in parts if all(n.startswith(p) for n in parameters)), None)
        if node.kind == "latent" and parameters and part is not None:
            known[node.name] = replace(node, part=f"{part}{parts[part]}")
    return graph.with_nodes(known)


def _parts(guide: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the AutoGuides in a guide: how the names of its parameters begin, and its class."""
    if isinstance(guide, AutoGuideList):
        for number, part in enumerate(guide):
            yield from _parts(part, f"{prefix}{number}.")
    elif isinstance(guide, AutoGuide):
        yield prefix, type(guide).__name__


@dataclass(frozen=True)
class _Joint:
    """Hold the latents that are drawn together, and the nodes that one node replaces."""

    latents: Sequence[Node]
    drawn: Node | None  # the auxiliary draw that they are images of
    part: str

    @property
    def names(self) -> set[str]:
        drawn = [self.drawn.name] if self.drawn else []
        return {*drawn, *(node.name for node in self.latents)}

    @property
    def words(self) -> str:
        """The family of the latents."""
        family = (self.drawn or self.latents[0]).distribution or ""
        return (_TOGETHER if self.drawn else _APART).get(family, family)

    def node(self) -> Node:
        """Return the node that stands for all; of one latent, that keeps its plates and its shape."""
        if self.drawn and len(self.latents) == 1:
            return replace(self.latents[0], distribution=self.words, arguments=(), numbers=())
        names = [node.name for node in self.latents]
        if len(names) > MOST_NAMES:
            names = [*names[:3], "...", names[-1]]
        labels = [node.label for node in self.latents]
        has_captions = len(names) == len(labels) and any(node.caption for node in self.latents)
        size = sum(prod((*node.batch_shape, *node.event_shape)) for node in self.latents)
        if self.drawn:
            size = prod(self.drawn.event_shape)
        return Node(
            f"({', '.join(names)})",
            "latent",
            self.words,
            event_shape=(size,),
            sites=tuple(site for node in self.latents for site in (node.name, *node.sites)),
            part=self.part,
            caption=f"({', '.join(labels)})" if has_captions else "",
        )


def folded_guide(graph: Graph) -> Graph:
    """Return a guide's graph with one node for the latents that are drawn together.

    These are the images of one auxiliary draw, and independent latents of one AutoGuide. The parameters of
    an AutoGuide that enter nothing else are one box.
    """
    for joint in (*_images(graph), *_independent(graph)):
        graph = _joined(graph, joint)
    return graph


def _images(graph: Graph) -> Iterator[_Joint]:
    for node in graph.nodes:
        if node.kind != "latent" or "auxiliary" not in node.marks:
            continue
        children = [graph.by_name[name] for name in graph.children(node.name)]
        latents = [c for c in children if _is_image(graph, c, node)]
        if latents and not any(map(has_warning, latents)):
            yield _Joint(latents, node, node.part)


def _is_image(graph: Graph, node: Node, drawn: Node) -> bool:
    return node.distribution == "Delta" and graph.parents(node.name) == (drawn.name,)


def _independent(graph: Graph) -> Iterator[_Joint]:
    parts: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.part and all(
            _kind(graph, name) == "parameters" for name in graph.parents(node.name)
        ):
            parts.setdefault(node.part, []).append(node)
    for part, latents in parts.items():
        is_plain = not any(has_warning(node) or "auxiliary" in node.marks for node in latents)
        if len(latents) > 1 and is_plain and len({n.distribution for n in latents}) == 1:
            yield _Joint(latents, None, part)


def _kind(graph: Graph, name: str) -> str:
    return graph.by_name[name].kind


def _joined(graph: Graph, joint: _Joint) -> Graph:
    """Return the graph with one node in place of those of a joint draw, and one box of its parameters."""
    node = joint.node()
    new = dict.fromkeys(joint.names, node)
    if joint.part:
        new |= dict.fromkeys(_own_parameters(graph, joint), _box(graph, joint))
    nodes: dict[str, Node] = {}
    for old in graph.nodes:
        shown = new.get(old.name, old)
        nodes.setdefault(shown.name, shown)
    edges = [
        replace(e, source=_name(new, e.source), target=_name(new, e.target), via=e.via)
        for e in graph.edges
    ]
    joined = Graph(tuple(nodes.values()), (), graph.plates)
    return joined.with_edges(*(e for e in edges if e.source != e.target))


def _name(new: Mapping[str, Node], name: str) -> str:
    return new[name].name if name in new else name


def _own_parameters(graph: Graph, joint: _Joint) -> list[str]:
    """Return the parameters that enter a joint draw and nothing else."""
    return [
        node.name
        for node in graph.nodes
        if node.kind == "parameters" and set(graph.children(node.name)) <= joint.names
    ]


def _box(graph: Graph, joint: _Joint) -> Node:
    parameters = [graph.by_name[name] for name in _own_parameters(graph, joint)]
    count = sum(node.count or 0 for node in parameters)
    return Node(joint.part, "parameters", "Parameter", count=count)
