"""From what a run did to the graph of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pyro.poutine.indep_messenger import CondIndepStackFrame

from pyro_vae.graph.graph import RANDOM, Edge, Graph, Node, Plate
from pyro_vae.graph.record.calls import Datum
from pyro_vae.graph.record.provenance import Origin
from pyro_vae.graph.record.recorder import Record
from pyro_vae.graph.record.sites import Site
from pyro_vae.graph.record.untracked import Untracked

# `pyro.sample(name, ..., obs_mask=...)` makes these two sites and a deterministic one of its name.
_HALVES = ("_observed", "_unobserved")
ANY_SIZE = -1  # what Pyro takes for the size of `pyro.plate("data")`


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
    statements = [
        _statement(site, (name, *_halves(name, record.sites))) for name, site in sites.items()
    ]
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
        for half in _halves(name, record.sites):
            names[Origin("site", half)] = name
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
            halves = [sites[name + half] for half in _HALVES]
            kinds = {half.kind for half in halves}
            kind = kinds.pop() if len(kinds) == 1 else "partially_observed"
            marks = tuple(mark for mark in halves[0].marks if mark != "masked")
            site = replace(halves[0], name=name, kind=kind, marks=marks)
        joined[name] = site
    split = {half for name in joined for half in _halves(name, sites)}
    return {name: site for name, site in joined.items() if name not in split}


def _halves(name: str, sites: Mapping[str, Site]) -> tuple[str, ...]:
    """The two sites that a partly observed one of this name is made of, if it is."""
    halves = tuple(name + half for half in _HALVES)
    return halves if name in sites and all(half in sites for half in halves) else ()


def _statement(site: Site, stands_for: tuple[str, ...]) -> Node:
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
        sites=stands_for,
    )


def _dtype(name: str) -> str:
    return name.removeprefix("torch.")


def _plates(sites: Iterable[Site]) -> tuple[Plate, ...]:
    found: dict[str, Plate] = {}
    for site in sites:
        for frame in site.frames:
            size = _size(frame, site)
            full = size if frame.size == ANY_SIZE else int(frame.full_size or frame.size)
            plate = Plate(frame.name, full, size, sequential=not frame.vectorized)
            found[frame.name] = _longer(found.get(frame.name, plate), plate)
    return tuple(found.values())


def _size(frame: CondIndepStackFrame, site: Site) -> int | None:
    """How many members of the plate a site has; unknown where neither the plate nor its shape says."""
    if frame.size != ANY_SIZE:
        return int(frame.size)
    if frame.dim is None or len(site.counted_shape) < -frame.dim:
        return None
    return site.counted_shape[frame.dim]


def _longer(one: Plate, other: Plate) -> Plate:
    """Of a plate without a size, what a longer site shows: shorter ones are broadcast along it."""
    return other if (other.size or 0) > (one.size or 0) else one


def _placed(graph: Graph, data: Mapping[str, object]) -> Graph:
    """Data that have a row for each member of a plate stand inside it, with all that they feed."""
    sizes = {p.name: {p.size, p.subsample_size} - {None, 1} for p in graph.plates}
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
            sites = tuple(dict.fromkeys((*known.sites, *node.sites)))
            nodes[node.name] = replace(known, plates=plates, marks=marks, sites=sites)
    first: dict[str, Plate] = {}
    for plate in (plate for graph in graphs for plate in graph.plates):
        known_size = first.setdefault(plate.name, plate)
        first[plate.name] = plate if known_size.size is None else known_size
    whole = Graph(tuple(nodes.values()), (), tuple(first.values()))
    return whole.with_edges(*(edge for graph in graphs for edge in graph.edges))
