"""Compare a guide with its model: align names, and mark where SVI would go wrong."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from pyro_vae.graph.graph import Graph, Node

LATENT = ("latent", "partially_observed")
UNOBSERVED = "_unobserved"  # Pyro's name for half of a site with `obs_mask`


class _Fault(NamedTuple):
    """Hold a node that is wrong, its mark, and the fault in words."""

    node: Node
    mark: str
    words: str


def aligned(model: Graph, guide: Graph) -> tuple[Graph, Graph, list[str]]:
    """Return both graphs with marks where one lacks a site of the other, and the same in words."""
    guide = _with_names_of(model, _without_single_auxiliaries(guide))
    guide = _with_points_deterministic(model, guide)
    faults = [*_missing_in_guide(model, guide), *_foreign_to_model(model, guide)]
    model, guide = _with_marks(model, faults), _with_marks(guide, faults)
    return model, guide, [fault.words for fault in faults]


def _with_marks(graph: Graph, faults: Iterable[_Fault]) -> Graph:
    return graph.with_nodes(
        {
            node.name: replace(node, marks=(*node.marks, mark))
            for node, mark, _ in faults
            if graph.by_name.get(node.name) is node
        }
    )


def _missing_in_guide(model: Graph, guide: Graph) -> Iterator[_Fault]:
    for node in model.nodes:
        is_needed = node.kind in LATENT and "enumerated" not in node.marks
        if is_needed and node.name not in guide.by_name:
            site = _guide_site(node)
            words = f"the model's latent {site!r} is missing in the guide: "
            yield _Fault(node, "not in guide", f"{words}add pyro.sample({site!r}, ...) there")


def _foreign_to_model(model: Graph, guide: Graph) -> Iterator[_Fault]:
    for node in guide.nodes:
        if "auxiliary" in node.marks or node.kind != "latent":
            continue
        words = f"the guide samples {node.name!r}, which the model "
        counterpart = model.by_name.get(node.name)
        if counterpart is None or counterpart.kind in ("data", "parameters"):
            remedy = "remove it, or mark it with infer={'is_auxiliary': True}"
            yield _Fault(node, "not in model", f"{words}does not: {remedy}")
        elif counterpart.kind == "observed":
            yield _Fault(node, "observed in model", f"{words}observes")
        elif counterpart.kind not in LATENT:
            yield _Fault(node, "computed in model", f"{words}computes")


def _guide_site(node: Node) -> str:
    """Return the site that a guide draws for a node of the model."""
    half = f"{node.name}{UNOBSERVED}"
    return half if half in node.sites else node.name


def _without_single_auxiliaries(guide: Graph) -> Graph:
    """Return the guide with ``z`` as one node where an autoguide draws Delta(t(z_unconstrained))."""
    while images := _single_images(guide):
        shown = {
            child.name: replace(
                child,
                distribution=guide.by_name[name].distribution,
                arguments=guide.by_name[name].arguments,
                numbers=guide.by_name[name].numbers,
            )
            for name, child in images.items()
        }
        edges = [
            replace(e, target=images[e.target].name) if e.target in images else e
            for e in guide.edges
            if e.source not in images
        ]
        nodes = tuple(shown.get(n.name, n) for n in guide.nodes if n.name not in images)
        guide = replace(guide, nodes=nodes).with_edges(*edges)
    return guide


def _single_images(guide: Graph) -> dict[str, Node]:
    """Return auxiliary draw -> its image, where nothing else depends on the one or enters the other."""
    images: dict[str, Node] = {}
    used: set[str] = set()
    for node in guide.nodes:
        children = guide.children(node.name)
        if node.kind != "latent" or "auxiliary" not in node.marks or len(children) != 1:
            continue
        child = guide.by_name[children[0]]
        is_alone = guide.parents(child.name) == (node.name,)
        if child.distribution == "Delta" and is_alone and node.name not in used:
            images[node.name] = child
            used.add(child.name)
    return images


def _with_names_of(model: Graph, guide: Graph) -> Graph:
    """Return the guide with ``name_unobserved``, half of a partly observed site, called ``name``."""
    names = {
        site: node.name
        for node in model.nodes
        if node.kind in LATENT
        and (site := _guide_site(node)) != node.name
        and site in guide.by_name
    }
    data = {n: f"{n} (data)" for n in names.values() if n in guide.by_name}
    return guide.renamed(data).renamed(names)


def _with_points_deterministic(model: Graph, guide: Graph) -> Graph:
    """Return the guide in which a Delta at a value that the model computes is deterministic, too."""
    computed = {n.name for n in model.nodes if n.kind == "deterministic"}
    repeated = {
        node.name: replace(
            node, kind="deterministic", arguments=(), numbers=(), marks=(), support=None
        )
        for node in guide.nodes
        if node.name in computed and node.kind == "latent" and node.distribution == "Delta"
    }
    return guide.with_nodes(repeated)
