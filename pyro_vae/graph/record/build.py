"""From the recording of a run to its graph."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace

from pyro.poutine.indep_messenger import CondIndepStackFrame

from pyro_vae.graph.graph import RANDOM, Edge, Graph, Node, Plate
from pyro_vae.graph.record.networks import ParameterBox
from pyro_vae.graph.record.provenance import Origin
from pyro_vae.graph.record.recorder import Recording
from pyro_vae.graph.record.statements import Statement
from pyro_vae.graph.record.untracked import UntrackedEdge

# `pyro.sample(name, ..., obs_mask=...)` adds these two sites to a deterministic one called `name`.
_HALVES = ("_observed", "_unobserved")
ANY_SIZE = -1  # the size in Pyro of `pyro.plate("data")`


def graph_of(recording: Recording, untracked: Sequence[UntrackedEdge] = ()) -> Graph:
    """Return the graph of one run."""
    statements = _with_halves_joined(recording.statements)
    names = _names(recording, statements)
    edges = [
        Edge(names[origin], statement.name, (parameter,) if parameter else ())
        for statement in statements.values()
        for parameter, origins in statement.parameter_origins.items()
        for origin in sorted(origins & names.keys())
        if names[origin] != statement.name
    ]
    used = {edge.source for edge in edges}
    nodes = (
        *_parameter_nodes(recording, names, used),
        *_data_nodes(recording, names, used - statements.keys()),
        *(_node(s, (name, *_halves(name, recording.statements))) for name, s in statements.items()),
    )
    hidden = [
        Edge(u.source, u.target, how="untracked")
        for u in untracked
        if {u.source, u.target} <= statements.keys()
    ]
    graph = Graph(nodes, (), _plates(statements.values())).with_edges(*edges, *hidden)
    return _with_data_in_plates(_with_untracked_marks(graph, untracked))


def _data_nodes(
    recording: Recording, names: Mapping[Origin, str], used: Set[str]
) -> Iterator[Node]:
    for argument in recording.data.values():
        name = names[Origin("data", argument.name)]
        if name in used:
            dtype = argument.dtype.removeprefix("torch.")
            yield Node(name, "data", dtype, batch_shape=argument.shape)


def _parameter_nodes(
    recording: Recording, names: Mapping[Origin, str], used: Set[str]
) -> Iterator[Node]:
    boxes: dict[str, ParameterBox] = {}
    for key, box in recording.boxes.items():
        boxes.setdefault(names[Origin("parameters", key)], box)
    for name, box in boxes.items():
        if name in used:
            yield Node(
                name,
                "parameters",
                box.kind,
                batch_shape=box.shape or (),
                support=box.constraint,
                count=box.count,
            )


def _names(recording: Recording, statements: Mapping[str, Statement]) -> dict[Origin, str]:
    """Return the name of each origin in the graph, where names are unique."""
    names = {Origin("site", name): name for name in statements}
    for name in statements:
        for half in _halves(name, recording.statements):
            names[Origin("site", half)] = name
    observing = _observing_sites(recording, statements)
    for argument in recording.data:
        name = f"{argument} (data)" if argument in statements else argument
        names[Origin("data", argument)] = observing.get(argument, name)
    for key, box in recording.boxes.items():
        taken = box.name in statements or box.name in recording.data
        names[Origin("parameters", key)] = f"{box.name} (parameters)" if taken else box.name
    return names


def _observing_sites(recording: Recording, statements: Mapping[str, Statement]) -> dict[str, str]:
    """Return argument -> the site that observes just it, unless an earlier site depends on it."""
    sites: dict[str, str] = {}
    read: set[Origin] = set()
    for name, statement in statements.items():
        read.update(*statement.parameter_origins.values())
        if statement.kind != "observed" or len(statement.value_origins) != 1:
            continue
        (origin,) = statement.value_origins
        if origin.kind == "data" and origin not in read and origin.name not in sites:
            shape = recording.data[origin.name].shape
            if statement.batch_shape + statement.event_shape == shape:
                sites[origin.name] = name
    return sites


def _with_halves_joined(statements: Mapping[str, Statement]) -> dict[str, Statement]:
    """Return the statements with each partly observed site, three in a trace, as one."""
    joined = {}
    for name, statement in statements.items():
        if names := _halves(name, statements):
            halves = [statements[half] for half in names]
            kinds = {half.kind for half in halves}
            kind = kinds.pop() if len(kinds) == 1 else "partially_observed"
            marks = tuple(mark for mark in halves[0].marks if mark != "masked")
            statement = replace(halves[0], name=name, kind=kind, marks=marks)
        joined[name] = statement
    split = {half for name in joined for half in _halves(name, statements)}
    return {name: statement for name, statement in joined.items() if name not in split}


def _halves(name: str, statements: Mapping[str, Statement]) -> tuple[str, ...]:
    """Return the two sites that make up a partly observed one of this name, if it is one."""
    halves = tuple(name + half for half in _HALVES)
    return halves if name in statements and all(half in statements for half in halves) else ()


def _node(statement: Statement, sites: tuple[str, ...]) -> Node:
    """Return the node of a statement, which stands for these sites of the trace."""
    names = {"deterministic": "Deterministic", "factor": "Factor"}
    is_random = statement.kind in RANDOM
    parameters = [name for name in statement.parameter_origins if name and name != "log_density"]
    return Node(
        statement.name,
        statement.kind,
        names.get(statement.kind, statement.distribution),
        arguments=tuple(parameters) if is_random else (),
        numbers=tuple(map(statement.constants.get, parameters)) if is_random else (),
        batch_shape=statement.batch_shape,
        event_shape=statement.event_shape,
        plates=tuple(dict.fromkeys(frame.name for frame in statement.frames)),
        support=statement.support if is_random else None,
        marks=statement.marks,
        sites=sites,
    )


def _plates(statements: Iterable[Statement]) -> tuple[Plate, ...]:
    plates: dict[str, Plate] = {}
    for statement in statements:
        for frame in statement.frames:
            size = _size(frame, statement)
            full = size if frame.size == ANY_SIZE else int(frame.full_size or frame.size)
            plate = Plate(frame.name, full, size, sequential=not frame.vectorized)
            plates[frame.name] = _larger(plates.get(frame.name, plate), plate)
    return tuple(plates.values())


def _size(frame: CondIndepStackFrame, statement: Statement) -> int | None:
    """Return how often the plate repeats a statement, or None if neither of the two shows it."""
    if frame.size != ANY_SIZE:
        return int(frame.size)
    if frame.dim is None or len(statement.log_prob_shape) < -frame.dim:
        return None
    return statement.log_prob_shape[frame.dim]


def _larger(one: Plate, other: Plate) -> Plate:
    """Return the larger plate: where it declares no size, short sites are broadcast along it."""
    return other if (other.size or 0) > (one.size or 0) else one


def _with_data_in_plates(graph: Graph) -> Graph:
    """Return the graph with data inside each plate along which they have a row per member."""
    sizes = {p.name: {p.size, p.subsample_size} - {None, 1} for p in graph.plates}
    changed = {}
    for node in graph.nodes:
        if node.kind != "data":
            continue
        readers = [graph.by_name[child].plates for child in graph.children(node.name)]
        shared = (
            [p for p in readers[0] if all(p in plates for plates in readers)] if readers else []
        )
        sizes_left, inside = list(node.batch_shape), []
        for plate in shared:
            dim = next((i for i, n in enumerate(sizes_left) if n in sizes[plate]), None)
            if dim is not None:
                sizes_left[dim] = -1
                inside.append(plate)
        changed[node.name] = replace(node, plates=tuple(inside))
    return graph.with_nodes(changed)


def _with_untracked_marks(graph: Graph, untracked: Sequence[UntrackedEdge]) -> Graph:
    marked = {
        u.target: replace(node, marks=(*node.marks, "untracked"))
        for u in untracked
        if (node := graph.by_name.get(u.target)) is not None
    }
    return graph.with_nodes(marked)


def merged(graphs: Sequence[Graph]) -> Graph:
    """Return one graph of several calls: sites observed in some of them only are partially observed."""
    nodes: dict[str, Node] = {}
    for graph in graphs:
        for node in graph.nodes:
            known = nodes.setdefault(node.name, node)
            if known.kind != node.kind and {known.kind, node.kind} <= {*RANDOM, "data"}:
                drawn = node if known.kind == "data" else known
                known = replace(drawn, kind="partially_observed")
            nodes[node.name] = replace(
                known,
                plates=tuple(dict.fromkeys((*known.plates, *node.plates))),
                marks=tuple(dict.fromkeys((*known.marks, *node.marks))),
                sites=tuple(dict.fromkeys((*known.sites, *node.sites))),
            )
    plates: dict[str, Plate] = {}
    for plate in (plate for graph in graphs for plate in graph.plates):
        first = plates.setdefault(plate.name, plate)
        plates[plate.name] = plate if first.size is None else first
    graph = Graph(tuple(nodes.values()), (), tuple(plates.values()))
    return graph.with_edges(*(edge for each in graphs for edge in each.edges))
