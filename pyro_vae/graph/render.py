"""The way in: a program and the arguments of a call give a ``ModelGraph``."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from torch import nn

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, must_be, true_or_false
from pyro_vae.graph.autoguide import with_parts
from pyro_vae.graph.compare import aligned
from pyro_vae.graph.declared import with_declared
from pyro_vae.graph.fold import folded
from pyro_vae.graph.labels import check_labels, with_labels
from pyro_vae.graph.model_graph import ModelGraph
from pyro_vae.graph.of_data import Drawn, drawn_on_data
from pyro_vae.graph.record import Arguments, graph_and_warnings
from pyro_vae.graph.view import View
from pyro_vae.program.closures import unwrapped
from pyro_vae.program.contract import Program, as_program, held_program


def _check_edge(name: str, edge: Any) -> None:
    checks.texts(name, edge)
    if len(edge) != 2:
        raise must_be(name, "a pair of names", edge)


def _check_labels(name: str, labels: Any) -> None:
    checks.mapping(name, labels)
    if not all(isinstance(text, str) for pair in labels.items() for text in pair):
        raise must_be(name, "a dict of names and texts", labels)


CHECKS: dict[str, checks.Check] = {
    "filename": checks.optional(checks.path),
    "render_distributions": true_or_false,
    "render_params": true_or_false,
    "render_deterministic": true_or_false,
    "guide": checks.optional(checks.function),
    "render_shapes": true_or_false,
    "render_constraints": true_or_false,
    "render_numbers": true_or_false,
    "render_sizes": true_or_false,
    "fold": checks.optional(true_or_false),
    "fold_guide": true_or_false,
    "edges": checks.each(_check_edge, "a list of pairs of names"),
    "labels": checks.optional(_check_labels),
}


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
    render_numbers: bool = True,
    render_constraints: bool = False,
    render_sizes: bool = True,
    fold: bool | None = None,
    fold_guide: bool = True,
    edges: Sequence[tuple[str, str]] = (),
    labels: Mapping[str, str] | None = None,
    data: Any = None,
) -> ModelGraph:
    """Draw a model, and its guide next to it, as a plate diagram.

    The program runs once on shapes alone. It runs again on values if it reads any, and a third time with
    discrete sites enumerated if it runs only so. Everything is as before afterwards: generators, param
    store, buffers, modes, gradients, arguments and the program's own attributes.

    Args:
        model: a Pyro model; or a program: an object with ``.model`` and ``.guide``, or a pair.
        model_args: the call's arguments. Pass a list of them for a model that is called in several
            ways (semi-supervised): a site observed in some calls only is partially observed.
        model_kwargs: the call's keyword arguments, or a list of them.
        filename: where to write the picture; the ending names the format: svg, png, pdf, dot, mmd, tex,
            txt or json.
        render_distributions: show each site's distribution and the names of its parameters.
        render_params: show networks and parameters.
        render_deterministic: show deterministic sites; without them, their parents and children are
            joined directly.
        guide: the model's guide.
        render_shapes: show ``batch | event`` shapes.
        render_numbers: show constants among the distributions' parameters as numbers: Normal(0, 5).
        render_constraints: show supports and constraints.
        render_sizes: show the sizes of plates.
        fold: draw a loop's sites ``z_0 ... z_T`` once, with edges back in time (True), or every one of them
            (False). By default, a loop longer than a page appears by its first, second and last steps; the
            graph as data has all of them.
        fold_guide: show the latents that an AutoGuide draws together as one node. The graph as data has
            each of them.
        edges: pairs (source, target) of dependences that the program's tensors do not show.
        labels: texts for the names of nodes, with mathematics between dollar signs: {"mu": r"$\\mu$"}.
            Pictures and LaTeX set it; other texts have it in words.
        data: in place of the arguments of a call: rows, as :func:`pyro_vae.fit` takes them. The program is
            called on a few of them, and the diagram shows the sizes that it has on all.

    Raises:
        InputError: the arguments do not fit, the program raises (the error names the site), there are no
            sites, a name is unknown, or the file cannot be written.

    >>> import pyro, torch
    >>> import pyro.distributions as dist
    >>> def model(x):
    ...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    ...     with pyro.plate("data", len(x)):
    ...         pyro.sample("x", dist.Normal(mean, 1.0), obs=x)
    >>> render_model(model, (torch.zeros(5),)).to_dict()["model"]["edges"]
    [['mean', 'x']]
    """
    checks.check_arguments(CHECKS, locals())
    model = held_program(model)
    program, has_guide = _program(model, guide)
    draw = partial(_drawn, program, has_guide, edges)
    if data is None:
        graphs, warnings = draw(_calls(model_args, model_kwargs))
    elif model_args is None and model_kwargs is None:
        graphs, warnings = drawn_on_data(program, data, draw)
    else:
        raise InputError(
            "data and model_args are both given", subject="data", remedy="pass one of them"
        )
    model_graph, guide_graph = graphs[0], graphs[1] if has_guide else None
    if guide_graph is not None:
        model_graph, guide_graph, faults = aligned(model_graph, guide_graph)
        guide_graph = with_parts(guide_graph, program.guide)
        warnings += faults
    model_graph, guide_graph = with_declared(edges, model_graph, guide_graph)
    every_graph = (model_graph, guide_graph)
    shown = {"parameters": render_params, "deterministic": render_deterministic}
    hidden = [kind for kind, is_shown in shown.items() if not is_shown]
    model_graph, guide_graph = (
        model_graph.without(*hidden),
        guide_graph and guide_graph.without(*hidden),
    )
    if fold:
        model_graph, guide_graph = folded(model_graph), guide_graph and folded(guide_graph)
    if labels:
        check_labels(labels, *every_graph, model_graph, guide_graph)
        model_graph = with_labels(model_graph, labels)
        guide_graph = guide_graph and with_labels(guide_graph, labels)
    view = View(
        distributions=render_distributions,
        numbers=render_numbers,
        shapes=render_shapes,
        constraints=render_constraints,
        sizes=render_sizes,
        every_step=fold is not None,
        every_latent=not fold_guide,
    )
    graph = ModelGraph(model_graph, guide_graph, tuple(warnings), _title(model), view)
    if filename is not None:
        graph.save(filename)
    return graph


def _drawn(
    program: Program,
    has_guide: bool,
    edges: Sequence[tuple[str, str]],
    calls: Sequence[Arguments],
) -> Drawn:
    """Return the graph of the model, and of the guide if there is one, and what may be wrong with them.

    Raises:
        InputError: the model has no statements, or a call fails.
    """
    graph, warnings = graph_and_warnings("model", program, calls, edges)
    if not graph.nodes:
        raise InputError(
            "the model has no sample statements, so there is nothing to draw",
            subject="model",
            remedy="pass a function that calls pyro.sample",
        )
    if not has_guide:
        return [graph], warnings
    guide, guide_warnings = graph_and_warnings("guide", program, calls, edges)
    return [graph, guide], [*warnings, *guide_warnings]


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


def _calls(args: Any, kwargs: Any) -> list[Arguments]:
    """Return the arguments of each call; lists hold those of several calls."""
    number = max((len(each) for each in (args, kwargs) if isinstance(each, list)), default=1)
    args, kwargs = () if args is None else args, {} if kwargs is None else kwargs
    every_args = args if isinstance(args, list) else [args] * number
    every_kwargs = kwargs if isinstance(kwargs, list) else [kwargs] * number
    if len(every_args) != len(every_kwargs) or not every_args:
        raise InputError(
            f"model_args lists {len(every_args)} calls, model_kwargs {len(every_kwargs)}",
            subject="model_args",
            expected="as many of both, at least one",
            remedy="pass one tuple of arguments if there is one call",
        )
    for each in every_args:
        if not isinstance(each, tuple):
            raise InputError(
                f"got a {type(each).__name__}",
                subject="model_args",
                expected="a tuple of arguments, such as (x,), or a list of such tuples",
                remedy="pass model_args=(x,)",
            )
    for each in every_kwargs:
        if not isinstance(each, Mapping):
            raise InputError(
                f"got a {type(each).__name__}",
                subject="model_kwargs",
                expected="a dict, or a list of dicts",
                remedy='pass model_kwargs={"x": x}',
            )
    return list(zip(every_args, every_kwargs, strict=True))


def _title(model: Any) -> str:
    model = unwrapped(model[0] if isinstance(model, tuple) else model)
    named = getattr(model, "__self__", model)
    return getattr(named, "__name__", type(named).__name__)
