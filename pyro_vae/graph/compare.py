"""Guide against model: simplified, aligned by name, and marked where SVI would go wrong."""

from collections.abc import Iterator
from dataclasses import replace

from pyro_vae.graph.graph import Graph, Node

LATENT = ("latent", "partially_observed")
UNOBSERVED = "_unobserved"  # half of a site with `obs_mask`


def aligned(model: Graph, guide: Graph) -> tuple[Graph, Graph, list[str]]:
    """Both graphs with marks where one lacks what the other has, and the same in words."""
    guide = _points_of(model, _with_names_of(model, _without_single_auxiliaries(guide)))
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
        needed = node.kind in LATENT and "enumerated" not in node.marks
        if needed and node.name not in guide.by_name:
            site = _drawn_as(node)
            yield (
                node,
                "not in guide",
                f"the model's latent {site!r} is missing in the guide: "
                f"add pyro.sample({site!r}, ...) there",
            )
    for node in guide.nodes:
        twin = model.by_name.get(node.name)
        if "auxiliary" in node.marks:
            continue
        if node.kind == "latent" and (twin is None or twin.kind in ("data", "parameters")):
            yield (
                node,
                "not in model",
                f"the guide samples {node.name!r}, which the model does not: "
                "remove it, or mark it with infer={'is_auxiliary': True}",
            )
        elif node.kind == "latent" and twin is not None and twin.kind not in LATENT:
            does = "observes" if twin.kind == "observed" else "computes"
            yield (
                node,
                f"{does.removesuffix('s')}d in model",
                f"the guide samples {node.name!r}, which the model {does}",
            )


def _drawn_as(node: Node) -> str:
    """The site of the trace that a guide draws for a node."""
    half = f"{node.name}{UNOBSERVED}"
    return half if half in node.sites else node.name


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
    """A partly observed site's guide draws ``name_unobserved``: the same node."""
    names = {
        site: node.name
        for node in model.nodes
        if node.kind in LATENT and (site := _drawn_as(node)) != node.name and site in guide.by_name
    }
    data = {n: f"{n} (data)" for n in names.values() if n in guide.by_name}
    return guide.renamed(data).renamed(names)


def _points_of(model: Graph, guide: Graph) -> Graph:
    """What the model computes and the guide repeats as a Delta is deterministic in both."""
    computed = {n.name for n in model.nodes if n.kind == "deterministic"}
    repeated = {
        node.name: replace(node, kind="deterministic", arguments=(), marks=(), support=None)
        for node in guide.nodes
        if node.name in computed and node.kind == "latent" and node.distribution == "Delta"
    }
    return guide.with_nodes(repeated)
