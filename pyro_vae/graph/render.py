"""The way in: a program and the arguments of one call give a ``ModelGraph``."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from pyro_vae.errors import InputError, nearest
from pyro_vae.graph.compare import aligned
from pyro_vae.graph.fold import folded
from pyro_vae.graph.graph import Edge, Graph
from pyro_vae.graph.model_graph import ModelGraph
from pyro_vae.graph.record.build import build, merged
from pyro_vae.graph.record.recorder import Record, Runner
from pyro_vae.graph.record.untracked import Findings, Untracked, escaped, experiment
from pyro_vae.graph.view import View
from pyro_vae.program.contract import Program, as_program

Call = tuple[tuple[Any, ...], Mapping[str, Any]]


def render_model(
    model: Any,
    model_args: tuple[Any, ...] | list[tuple[Any, ...]] | None = None,
    model_kwargs: Mapping[str, Any] | list[Mapping[str, Any]] | None = None,
    filename: str | os.PathLike[str] | None = None,
    render_distributions: bool = True,
    render_params: bool = True,
    render_deterministic: bool = True,
    *,
    guide: Callable[..., Any] | None = None,
    render_shapes: bool = True,
    render_constraints: bool = False,
    render_sizes: bool = True,
    fold: bool = False,
    edges: Sequence[tuple[str, str]] = (),
) -> ModelGraph:
    """The plate diagram of a model, and of its guide beside it.

    The program is run once on shapes alone (a second time on values where it asks for them, a third
    time with discrete sites summed out where it holds only so), and leaves no trace: generators, param
    store, buffers, modes, gradients, arguments and what the program keeps are as before.

    :param model: a Pyro model; or a whole program, an object with ``.model`` and ``.guide`` or the
        pair of them.
    :param model_args: the call's arguments; a list of them for a model that is called in several
        ways (semi-supervised): what is observed in some calls only is partially observed.
    :param model_kwargs: likewise by name.
    :param filename: where to write the picture; the ending names the format: svg, png, pdf, dot,
        mmd, tex, txt or json.
    :param render_distributions: show each site's distribution and the names of its parameters.
    :param render_params: show networks and parameters.
    :param render_deterministic: show deterministic sites; without them, what they stand between is
        joined directly.
    :param guide: the model's guide.
    :param render_shapes: show ``batch | event`` shapes.
    :param render_constraints: show supports and constraints.
    :param render_sizes: show the sizes of plates.
    :param fold: draw a loop's sites ``z_0 ... z_T`` once, with edges back in time.
    :param edges: pairs (source, target) that the program has but its tensors do not show.
    :raises InputError: the call's arguments do not fit, the program raises (with the site), there are
        no sites, a name is unknown, or the file cannot be written.

    >>> import pyro, torch
    >>> import pyro.distributions as dist
    >>> def model(x):
    ...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    ...     with pyro.plate("data", len(x)):
    ...         pyro.sample("x", dist.Normal(mean, 1.0), obs=x)
    >>> render_model(model, (torch.zeros(5),)).to_dict()["model"]["edges"]
    [['mean', 'x']]
    """
    program, has_guide = _program(model, guide)
    calls = _calls(model_args, model_kwargs)
    shown, warnings = _graph_of("model", program, calls, edges)
    beside = _graph_of("guide", program, calls, edges) if has_guide else None
    if not shown.nodes:
        raise InputError("the model has no sample statements: there is nothing to draw")
    guide_graph = None
    if beside is not None:
        shown, guide_graph, faults = aligned(shown, beside[0])
        warnings = [*warnings, *beside[1], *faults]
    shown, guide_graph = _declared(edges, shown, guide_graph)
    hidden = [
        kind
        for kind, keep in (("parameters", render_params), ("deterministic", render_deterministic))
        if not keep
    ]
    shown, guide_graph = shown.without(*hidden), guide_graph and guide_graph.without(*hidden)
    if fold:
        shown, guide_graph = folded(shown), guide_graph and folded(guide_graph)
    view = View(render_distributions, render_shapes, render_constraints, render_sizes)
    graph = ModelGraph(shown, guide_graph, tuple(warnings), _title(model), view)
    if filename is not None:
        graph.save(filename)
    return graph


def _program(model: Any, guide: Callable[..., Any] | None) -> tuple[Program, bool]:
    if guide is not None:
        return as_program((model, guide)), True
    model = _without_guide(model)
    if isinstance(model, tuple | Program) or not callable(model) or _is_program(model):
        return as_program(model), True
    return as_program((model, model)), False


def _without_guide(model: Any) -> Any:
    """The model of a pair or an object that has no guide, or None for one."""
    if isinstance(model, tuple) and len(model) == 2 and model[1] is None:
        return model[0]
    if getattr(model, "guide", None) is not None or not callable(getattr(model, "model", None)):
        return model
    runs = (
        type(model).forward is not nn.Module.forward
        if isinstance(model, nn.Module)
        else callable(model)
    )
    return model if runs and not hasattr(model, "guide") else model.model


def _is_program(thing: Any) -> bool:
    return callable(getattr(thing, "model", None)) and callable(getattr(thing, "guide", None))


def _calls(args: Any, kwargs: Any) -> list[Call]:
    """The calls to run: lists of arguments are several of them."""
    number = max((len(given) for given in (args, kwargs) if isinstance(given, list)), default=1)
    every_args = args if isinstance(args, list) else [args or ()] * number
    every_kwargs = kwargs if isinstance(kwargs, list) else [kwargs or {}] * number
    if len(every_args) != len(every_kwargs) or not every_args:
        raise InputError(
            f"model_args lists {len(every_args)} calls and model_kwargs {len(every_kwargs)}: "
            "they must be equally many, and one at least"
        )
    for each in every_args:
        if not isinstance(each, tuple):
            raise InputError(
                f"model_args must be a tuple of arguments, such as (x,), or a list of such tuples; "
                f"got {type(each).__name__}"
            )
    for each in every_kwargs:
        if not isinstance(each, Mapping):
            raise InputError(f"model_kwargs must be a dict; got {type(each).__name__}")
    return list(zip(every_args, every_kwargs, strict=True))


def _graph_of(
    part: str, program: Program, calls: Sequence[Call], declared: Sequence[tuple[str, str]]
) -> tuple[Graph, list[str]]:
    """One part's graph over all calls, and what could not be tracked and is not declared either."""
    graphs, warnings = [], []
    for args, kwargs in calls:
        record, found = _examined(part, program, args, kwargs)
        graphs += [build(each, found.untracked) for each in (record, *found.branches)]
        doubts = (u for u in found.untracked if (u.source, u.target) not in declared)
        warnings += [*map(_in_words, doubts), *_lost(record, found)]
    return merged(graphs), list(dict.fromkeys(warnings))


def _examined(
    part: str, program: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Record, Findings]:
    runner = Runner(part, getattr(program, part), args, kwargs, program.modules, program.model)
    record = runner.record()
    if not any(origin.kind == "site" for escape in record.escapes for origin in escape.origins):
        return record, Findings()
    if record.trace is None:
        return record, Findings(unexamined=escaped(record))
    with runner.rehearsed():
        return record, experiment(record, lambda draws, seed: runner.observe(True, draws, seed))


def _in_words(untracked: Untracked) -> str:
    source, target = untracked.source, untracked.target
    if untracked.branch:
        return (
            f"whether {target!r} is there depends on {source!r}: the program branches on it "
            f"({untracked.where})"
        )
    return (
        f"{target!r} depends on {source!r} in a way that its tensors do not show: the value becomes "
        f"a plain number ({untracked.where}); found by changing {source!r}"
    )


def _lost(record: Record, found: Findings) -> Iterator[str]:
    """What becomes a plain number, where nothing more is known of what depends on it."""
    remedy = "what depends on it is not seen; declare it with edges=[(source, target)]"
    for source, where in found.unexamined.items():
        yield f"{source!r} becomes a plain number ({where}): {remedy}"
    seen = {origin for site in record.sites.values() for origin in _all_origins(site)}
    for escape in record.escapes:
        for origin in sorted(escape.origins - seen):
            box = record.boxes.get(origin.name)
            if origin.kind == "data" or box is not None:
                name = box.name if box else origin.name
                yield f"{name!r} becomes a plain number ({escape.where}): {remedy}"


def _all_origins(site: Any) -> frozenset[Any]:
    return site.value_origins.union(*site.arguments.values())


def _declared(
    pairs: Sequence[tuple[str, str]], model: Graph, guide: Graph | None
) -> tuple[Graph, Graph | None]:
    """The graphs with the user's edges, each where both its ends are."""
    for source, target in pairs:
        graphs = [g for g in (model, guide) if g and {source, target} <= g.by_name.keys()]
        if not graphs:
            known = {**(guide.by_name if guide else {}), **model.by_name}
            missing = next((n for n in (source, target) if n not in known), f"{source} -> {target}")
            raise InputError(f"edges: there is no node {missing!r}{nearest(missing, known)}")
    return _with_declared(pairs, model), guide and _with_declared(pairs, guide)


def _with_declared(pairs: Sequence[tuple[str, str]], graph: Graph) -> Graph:
    here = [pair for pair in pairs if set(pair) <= graph.by_name.keys()]
    confirmed = [
        replace(e, how="declared") if (e.source, e.target) in here and e.how == "untracked" else e
        for e in graph.edges
    ]
    known = {(e.source, e.target) for e in graph.edges}
    new = [Edge(s, t, how="declared") for s, t in here if (s, t) not in known]
    doubtful = {e.target for e in confirmed if e.how == "untracked"}
    settled = {
        n.name: replace(n, marks=tuple(m for m in n.marks if m != "untracked"))
        for n in graph.nodes
        if n.name not in doubtful
    }
    return graph.with_nodes(settled).with_edges(*confirmed, *new)


def _title(model: Any) -> str:
    named = getattr(model, "__self__", model)
    return getattr(named, "__name__", type(named).__name__)
