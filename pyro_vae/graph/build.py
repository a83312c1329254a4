"""From what a run did to the graph of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pyro_vae.graph.calls import Datum
from pyro_vae.graph.capture import Record
from pyro_vae.graph.graph import RANDOM, Edge, Graph, Node, Plate
from pyro_vae.graph.provenance import Origin
from pyro_vae.graph.sites import Site
from pyro_vae.graph.untracked import Untracked

# `pyro.sample(name, ..., obs_mask=...)` makes these two sites and a deterministic one of its name.
_HALVES = ("_observed", "_unobserved")


def build(record: Record, untracked: Sequence[Untracked] = ()) -> Graph:
    """The graph of one run."""
    sites = _partial_observations_joined(record.sites)
    names = _names(record, sites)
    plates = _plates(sites.values())
    edges = [
        Edge(names[origin], site.name, (argument,) if argument else ())
        for site in sites.values()
        for argument, origins in site.arguments.items()
        for origin in sorted(origins & names.keys())
        if names[origin] != site.name
    ]
    statements = [_statement(site) for site in sites.values()]
    used = {edge.source for edge in edges}
    data = [
        Node(name, "data", _dtype(datum.dtype), batch_shape=datum.shape)
        for datum in record.data.values()
        if (name := names[Origin("data", datum.name)]) in used - sites.keys()
    ]
    boxes = {box.name: box for box in record.boxes.values()}
    parameters = [
        Node(
            names[Origin("parameters", key)],
            "parameters",
            box.kind,
            batch_shape=box.shape or (),
            support=box.constraint,
            count=box.count,
        )
        for key, box in record.boxes.items()
        if boxes.pop(box.name, None) and names[Origin("parameters", key)] in used
    ]
    hidden = [
        Edge(u.source, u.target, how="untracked")
        for u in untracked
        if {u.source, u.target} <= sites.keys()
    ]
    graph = Graph((*parameters, *data, *statements), (), plates)
    return _placed(_marked(graph.with_edges(*edges, *hidden), untracked), record.data)


def _names(record: Record, sites: Mapping[str, Site]) -> dict[Origin, str]:
    """What each origin is called in the graph; names are unique there."""
    names = {Origin("site", name): name for name in sites}
    for name in sites:
        for half in _HALVES:
            names.setdefault(Origin("site", name + half), name)
    for datum in record.data.values():
        origin = Origin("data", datum.name)
        site = _held_by(origin, datum, sites)
        name = datum.name if datum.name not in sites else f"{datum.name} (data)"
        names[origin] = site or name
    for key, box in record.boxes.items():
        taken = box.name in sites or box.name in record.data
        names[Origin("parameters", key)] = f"{box.name} (parameters)" if taken else box.name
    return names


def _held_by(origin: Origin, datum: Datum, sites: Mapping[str, Site]) -> str | None:
    """The site that observes just this argument, if what else depends on the argument comes later."""
    for name, site in sites.items():
        if any(origin in origins for origins in site.arguments.values()):
            return None
        whole = site.batch_shape + site.event_shape == datum.shape
        if site.kind == "observed" and site.value_origins == {origin} and whole:
            return name
    return None


def _partial_observations_joined(sites: Mapping[str, Site]) -> dict[str, Site]:
    joined = {}
    for name, site in sites.items():
        if all(name + half in sites for half in _HALVES):
            whole = sites[name + _HALVES[0]]
            marks = tuple(mark for mark in whole.marks if mark != "masked")
            site = replace(whole, name=name, kind="partially_observed", marks=marks)
        joined[name] = site
    halves = {name + half for name in joined for half in _HALVES if name + _HALVES[0] in sites}
    return {name: site for name, site in joined.items() if name not in halves}


def _statement(site: Site) -> Node:
    plain = site.kind in RANDOM
    return Node(
        site.name,
        site.kind,
        {"deterministic": "Deterministic", "factor": "Factor"}.get(site.kind, site.distribution),
        arguments=tuple(a for a in site.arguments if a and a != "log_density") if plain else (),
        batch_shape=site.batch_shape,
        event_shape=site.event_shape,
        plates=tuple(dict.fromkeys(frame.name for frame in site.frames)),
        support=site.support if plain else None,
        marks=site.marks,
    )


def _dtype(name: str) -> str:
    return name.removeprefix("torch.")


def _plates(sites: Iterable[Site]) -> tuple[Plate, ...]:
    found: dict[str, Plate] = {}
    for site in sites:
        for frame in site.frames:
            full = int(frame.full_size or frame.size)
            plate = Plate(frame.name, full, int(frame.size), sequential=not frame.vectorized)
            found.setdefault(frame.name, plate)
    return tuple(found.values())


def _placed(graph: Graph, data: Mapping[str, object]) -> Graph:
    """Data that have a row for each member of a plate stand inside it, with all that they feed."""
    sizes = {plate.name: {plate.size, plate.subsample_size} - {1} for plate in graph.plates}
    changed = {}
    for node in graph.nodes:
        if node.kind != "data":
            continue
        feeds = [graph.by_name[child].plates for child in graph.children(node.name)]
        shared = [p for p in feeds[0] if all(p in plates for plates in feeds)] if feeds else []
        left, inside = list(node.batch_shape), []
        for plate in shared:
            dim = next((i for i, n in enumerate(left) if n in sizes[plate]), None)
            if dim is not None:
                left[dim] = -1
                inside.append(plate)
        changed[node.name] = replace(node, plates=tuple(inside))
    return graph.with_nodes(changed)


def _marked(graph: Graph, untracked: Sequence[Untracked]) -> Graph:
    marked = {
        u.target: replace(node, marks=(*node.marks, "untracked"))
        for u in untracked
        if (node := graph.by_name.get(u.target)) is not None
    }
    return graph.with_nodes(marked)


def merged(graphs: Sequence[Graph]) -> Graph:
    """One graph of several calls: what is observed in some of them only is partially observed."""
    nodes: dict[str, Node] = {}
    for graph in graphs:
        for node in graph.nodes:
            known = nodes.setdefault(node.name, node)
            if known.kind != node.kind and {known.kind, node.kind} <= {*RANDOM, "data"}:
                drawn = node if known.kind == "data" else known
                known = replace(drawn, kind="partially_observed")
            plates = tuple(dict.fromkeys((*known.plates, *node.plates)))
            marks = tuple(dict.fromkeys((*known.marks, *node.marks)))
            nodes[node.name] = replace(known, plates=plates, marks=marks)
    first: dict[str, Plate] = {}
    for plate in (plate for graph in graphs for plate in graph.plates):
        first.setdefault(plate.name, plate)
    whole = Graph(tuple(nodes.values()), (), tuple(first.values()))
    return whole.with_edges(*(edge for graph in graphs for edge in graph.edges))
