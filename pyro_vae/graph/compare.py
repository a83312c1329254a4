"""Guide against model: simplified, aligned by name, and marked where SVI would go wrong."""

from collections.abc import Iterator
from dataclasses import replace

from pyro_vae.graph.graph import Graph, Node


def aligned(model: Graph, guide: Graph) -> tuple[Graph, Graph, list[str]]:
    """Both graphs with marks where one lacks what the other has, and the same in words."""
    guide = _with_names_of(model, _without_single_auxiliaries(guide))
    faults = list(_faults(model, guide))
    for node, mark, _ in faults:
        model, guide = (
            g.with_nodes({node.name: replace(node, marks=(*node.marks, mark))})
            if g.by_name.get(node.name) is node
            else g
            for g in (model, guide)
        )
    return model, guide, [words for _, _, words in faults]


def _faults(model: Graph, guide: Graph) -> Iterator[tuple[Node, str, str]]:
    for node in model.nodes:
        needed = node.kind in ("latent", "partially_observed") and "enumerated" not in node.marks
        if needed and node.name not in guide.by_name:
            yield (
                node,
                "not in guide",
                f"the model's latent {node.name!r} is missing in the guide: "
                f"add pyro.sample({node.name!r}, ...) there",
            )
    for node in guide.nodes:
        twin = model.by_name.get(node.name)
        if node.kind == "observed" and "auxiliary" not in node.marks:
            yield node, "observed in guide", f"the guide observes {node.name!r}; only the model may"
        elif node.kind != "latent" or "auxiliary" in node.marks:
            continue
        elif twin is None:
            yield (
                node,
                "not in model",
                f"the guide samples {node.name!r}, which the model has not: "
                "remove it, or mark it with infer={'is_auxiliary': True}",
            )
        elif twin.kind == "observed":
            yield (
                node,
                "observed in model",
                f"the guide samples {node.name!r}, which the model observes",
            )


def _without_single_auxiliaries(guide: Graph) -> Graph:
    """Pyro's autoguides draw ``z`` as Delta(t(z_unconstrained)): one statement in two."""
    for node in guide.nodes:
        children = guide.children(node.name)
        if node.kind != "latent" or "auxiliary" not in node.marks or len(children) != 1:
            continue
        child = guide.by_name[children[0]]
        if child.distribution == "Delta" and guide.parents(child.name) == (node.name,):
            via = [e for e in guide.edges if e.target == node.name]
            shown = replace(child, distribution=node.distribution, arguments=node.arguments)
            edges = [e for e in guide.edges if node.name not in (e.source, e.target)]
            edges += [replace(e, target=child.name) for e in via]
            nodes = tuple(shown if n is child else n for n in guide.nodes if n is not node)
            guide = replace(guide, nodes=nodes).with_edges(*edges)
    return guide


def _with_names_of(model: Graph, guide: Graph) -> Graph:
    """A partially observed site's guide draws ``name_unobserved``: the same node."""
    names = {
        f"{node.name}_unobserved": node.name
        for node in model.nodes
        if node.kind == "partially_observed" and node.name not in guide.by_name
    }
    return guide.renamed(names)
