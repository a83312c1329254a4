"""Record a model or guide, and read off its graph."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyro_vae.graph.graph import Graph
from pyro_vae.graph.record.build import graph_of, merged
from pyro_vae.graph.record.recorder import Recorder, Recording
from pyro_vae.graph.record.untracked import (
    UntrackedEdge,
    UntrackedResult,
    find_untracked,
    read_samples,
)
from pyro_vae.program.contract import Program

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]
_UNKNOWN = "no edge shows what depends on it; declare it with edges=[(source, target)]"


def graph_and_warnings(
    role: str,
    program: Program,
    calls: Sequence[Arguments],
    declared: Sequence[tuple[str, str]],
) -> tuple[Graph, list[str]]:
    """Return the graph of the model or the guide over all calls, and what may be wrong with it.

    Args:
        role: "model" or "guide".
        program: the program.
        calls: the arguments of each call.
        declared: edges that need no warning.
    """
    graphs, warnings = [], []
    for args, kwargs in calls:
        function, names = getattr(program, role), program.model
        recorder = Recorder(role, function, args, kwargs, program.modules, names)
        recording = recorder.record()
        untracked = _untracked(recorder, recording)
        graphs += [graph_of(each, untracked.edges) for each in (recording, *untracked.branches)]
        doubtful = (e for e in untracked.edges if (e.source, e.target) not in declared)
        warnings += [*map(_warning, doubtful), *_lost_values(recording, untracked)]
    return merged(graphs), list(dict.fromkeys(warnings))


def _untracked(recorder: Recorder, recording: Recording) -> UntrackedResult:
    if not any(o.kind == "site" for read in recording.value_reads for o in read.origins):
        return UntrackedResult()
    if recording.trace is None:
        return UntrackedResult(unexamined=read_samples(recording))
    with recorder.set_up():
        return find_untracked(
            recording, lambda draws, seed: recorder.record_once(True, draws, seed)
        )


def _warning(edge: UntrackedEdge) -> str:
    source, target = edge.source, edge.target
    if edge.branch:
        return (
            f"whether {target!r} is there depends on {source!r}: the program branches on it "
            f"({edge.where})"
        )
    return (
        f"{target!r} depends on {source!r} in a way that its tensors do not show: the value becomes "
        f"a plain number ({edge.where}); found by changing {source!r}"
    )


def _lost_values(recording: Recording, untracked: UntrackedResult) -> Iterator[str]:
    """Return warnings about values that become plain numbers, with unknown consequences."""
    for source, where in untracked.unexamined.items():
        yield f"{source!r} becomes a plain number ({where}): {_UNKNOWN}"
    tracked = {
        origin
        for statement in recording.statements.values()
        for origins in (statement.value_origins, *statement.parameter_origins.values())
        for origin in origins
    }
    for read in recording.value_reads:
        for origin in sorted(read.origins - tracked):
            box = recording.boxes.get(origin.name)
            if origin.kind == "data" or box is not None:
                name = box.name if box else origin.name
                yield f"{name!r} becomes a plain number ({read.where}): {_UNKNOWN}"
