"""Runs one Pyro function and notes what each of its statements is and depends on."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.condition_messenger import ConditionMessenger
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import _PYRO_STACK
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_flatten_with_path

from pyro_vae.errors import InputError
from pyro_vae.graph.networks import Networks, ParameterBox
from pyro_vae.graph.provenance import NOTHING, Escape, Origin, Origins, Tracker, storage_of
from pyro_vae.isolation import undisturbed
from pyro_vae.program import Program, run

Shape = tuple[int, ...]
SEED = 0  # of the runs that need values: the same program gives the same graph


@dataclass(frozen=True)
class Site:
    """One sample, deterministic or factor statement."""

    name: str
    kind: str
    distribution: str
    support: str | None
    batch_shape: Shape
    event_shape: Shape
    frames: tuple[CondIndepStackFrame, ...]
    arguments: Mapping[str, Origins]  # what each of the distribution's parameters depends on
    value_origins: Origins  # what an observed value depends on
    marks: tuple[str, ...]


@dataclass(frozen=True)
class Datum:
    """An argument of the call that holds numbers."""

    name: str
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Record:
    """What one call did, in the program's order."""

    sites: Mapping[str, Site]
    data: Mapping[str, Datum]
    boxes: Mapping[str, ParameterBox]  # by the name of the parameter's origin
    escapes: tuple[Escape, ...]
    trace: poutine.Trace | None = field(repr=False, default=None)  # with values, if there are any


def capture(
    part: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    names: Callable[..., Any] | None = None,
) -> Record:
    """Runs ``function`` on shapes alone, and only if it asks for values on values.

    :param names: where the arguments' names are taken from if ``function`` takes ``*args``.
    :raises InputError: the call's arguments do not fit, or it raises; with the site.
    """
    _check_call(part, function, args, kwargs)
    data = arguments_of(function, names or function, args, kwargs)
    try:
        return observe(part, function, args, kwargs, modules, data, values=False)
    except Exception:  # noqa: BLE001 - whatever meta tensors cannot do is tried with real ones
        return observe(part, function, args, kwargs, modules, data, values=True)


def observe(
    part: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    data: Mapping[str, tuple[Any, "Datum"]],
    values: bool,
    replayed: poutine.Trace | None = None,
) -> Record:
    """One run, on real values or on shapes alone; with the draws of ``replayed``, if given."""
    tracker, networks = Tracker(values), Networks(modules, function)
    for name, (leaf, _) in data.items():
        tracker.tag(leaf, frozenset({Origin("data", name)}))

    def know(tensor: Tensor) -> None:
        tracker.tag(tensor, frozenset({Origin("parameters", str(storage_of(tensor)[0]))}))

    for parameter in networks.found.values():
        know(parameter.tensor)
    recorder = _Recorder(tracker, networks)
    program = Program(function, function, modules)
    with undisturbed(program, seed=SEED), as_found(modules), networks.watched(know):
        with pyro.validation_enabled(False), torch.set_grad_enabled(values), tracker, recorder:
            replay = function if replayed is None else poutine.replay(function, trace=replayed)
            trace = run(part, replay, args, kwargs)
        boxes = _boxes(networks, recorder)
    return Record(
        recorder.sites,
        {name: datum for name, (_, datum) in data.items()},
        boxes,
        tuple(tracker.escapes),
        trace if values else None,
    )


class _Recorder(Messenger):
    """Outermost handler: sees each statement as the program's own handlers left it."""

    def __init__(self, tracker: Tracker, networks: Networks) -> None:
        super().__init__()
        self.tracker, self.networks = tracker, networks
        self.sites: dict[str, Site] = {}
        self.boxes: dict[str, ParameterBox] = {}

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if msg["value"] is None:
            with self.tracker.paused():
                msg["value"] = _draw(msg) if self.tracker.values else _shape_of_draw(msg)

    def _pyro_post_sample(self, msg: dict[str, Any]) -> None:
        if isinstance(msg["fn"], _Subsample):
            return
        name, value = msg["name"], msg["value"]
        own = self.tracker.origins(value) if msg["is_observed"] else NOTHING
        self.sites[name] = _site(msg, arguments(msg["fn"], self.tracker), own)
        if isinstance(value, Tensor):
            with self.tracker.paused():  # in storage of its own: views of data stay data
                msg["value"] = value.clone()
            self.tracker.tag(msg["value"], frozenset({Origin("site", name)}))

    def _pyro_post_param(self, msg: dict[str, Any]) -> None:
        value = msg["value"]
        if not isinstance(value, Tensor):
            return
        store, name = pyro.get_param_store(), msg["name"]
        unconstrained = store._params.get(name, value)
        key = str(storage_of(unconstrained)[0])
        name, shape = name.replace("$$$", "."), tuple(value.shape)
        constraint = store._constraints.get(msg["name"], msg["kwargs"].get("constraint"))
        words = None if constraint in (None, dist.constraints.real) else describe(constraint)
        self.boxes[key] = ParameterBox(name, "Parameter", value.numel(), shape, words)
        self.networks.registered[int(key)] = name
        if not self.tracker.origins(value):
            for tensor in (unconstrained, value):
                self.tracker.tag(tensor, frozenset({Origin("parameters", key)}))


def _draw(msg: dict[str, Any]) -> Any:
    return msg["fn"](*msg["args"], **msg["kwargs"])


def _shape_of_draw(msg: dict[str, Any]) -> Any:
    """What a draw looks like; some samplers need values, or have no meta kernel."""
    fn = msg["fn"]
    if isinstance(fn, _Subsample):
        return torch.empty(fn.subsample_size or fn.size, dtype=torch.long)
    if not type(base_distribution(fn)).__module__.startswith(("pyro.", "torch.")):
        return _draw(msg)
    return torch.empty(fn.shape(*msg["args"], **msg["kwargs"]), dtype=_dtype_of_draw(fn))


def _dtype_of_draw(fn: Any) -> torch.dtype:
    """The dtype of the value it holds or indexes with, else that of its parameters."""
    base = base_distribution(fn)
    if isinstance(base, torch.distributions.MixtureSameFamily):
        return _dtype_of_draw(base.component_distribution)
    if isinstance(base, torch.distributions.Categorical):
        return torch.long
    if isinstance(base, dist.Empirical):
        return base._samples.dtype
    held = [value for value in vars(base).values() if isinstance(value, Tensor)]
    return next((t.dtype for t in held if t.is_floating_point()), torch.get_default_dtype())


def _boxes(networks: Networks, recorder: "_Recorder") -> dict[str, ParameterBox]:
    """A parameter is named by the module that holds it, else by its statement."""
    held = networks.boxes()
    constraints = {key: box.constraint for key, box in recorder.boxes.items()}
    return recorder.boxes | {
        key: replace(box, constraint=constraints.get(key)) if box.shape is not None else box
        for key, box in held.items()
    }


def describe(constraint: Any) -> str:
    """A constraint in a word or two: ``positive``, ``[0, 1]``, ``{0, 1}``, ``simplex``."""
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    name = type(constraint).__name__.lstrip("_")
    low, high = (getattr(constraint, f"{side}_bound", None) for side in ("lower", "upper"))
    if name == "Boolean":
        return "{0, 1}"
    if all(isinstance(bound, int | float) for bound in (low, high)):
        left, right = {"HalfOpenInterval": "[)", "IntegerInterval": "{}"}.get(name, "[]")
        return f"{left}{low:g}, {'..., ' if left == '{' else ''}{high:g}{right}"
    if name.startswith("GreaterThan") and low == 0:
        return "nonnegative" if name.endswith("Eq") else "positive"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def base_distribution(fn: Any) -> Any:
    """The distribution inside Pyro's wrappers for shapes and masks."""
    while isinstance(fn, dist.Independent | dist.ExpandedDistribution | dist.MaskedDistribution):
        fn = fn.base_dist
    return fn


def arguments(fn: Any, tracker: Tracker) -> dict[str, Origins]:
    """By parameter of the distribution: what it depends on; ``""`` holds what has no such name."""
    base = base_distribution(fn)
    named = {name: _reach(value, tracker) for name, value in _parameters(base).items()}
    covered = frozenset().union(*named.values())
    return {**named, "": _reach(fn, tracker) - covered}


def _parameters(base: Any) -> dict[str, Any]:
    """A distribution's parameters by name: those it was given, not what it can derive from them."""
    constraints = getattr(base, "arg_constraints", {})
    held: dict[str, Any] = {}
    for holder in (base, *vars(base).values()):  # a OneHotCategorical holds a Categorical
        if isinstance(holder, torch.distributions.Distribution):
            held = {n.removeprefix("_unbroadcasted_"): v for n, v in vars(holder).items()} | held
    found = {name: held[name] for name in constraints if name in held}
    return found or {name: getattr(base, name, None) for name in constraints}


def _reach(thing: Any, tracker: Tracker) -> Origins:
    return tracker.origins(list(held_tensors(thing)))


def held_tensors(thing: Any, depth: int = 8) -> Iterator[Tensor | np.ndarray]:
    """Every tensor that a distribution holds, through transforms, modules and containers."""
    if depth == 0 or thing is None or isinstance(thing, str | int | float | torch.Size):
        return
    parts: Iterable[Any] = ()
    if isinstance(thing, Tensor | np.ndarray):
        yield thing
    elif isinstance(thing, dict):
        parts = thing.values()
    elif isinstance(thing, list | tuple):
        parts = thing
    elif isinstance(thing, nn.Module):
        parts = [*thing.parameters(), *(_held(thing) if _is_random(thing) else ())]
    elif _is_random(thing):
        parts = _held(thing)
    for part in parts:
        yield from held_tensors(part, depth - 1)


def _is_random(thing: Any) -> bool:
    kinds = (torch.distributions.Distribution, torch.distributions.Transform)
    return isinstance(thing, kinds) or callable(getattr(thing, "log_prob", None))


def _held(thing: Any) -> list[Any]:
    # a transform's cache holds its last draw, which may be another site's
    return [value for name, value in vars(thing).items() if not name.startswith("_cached")]


def _site(msg: dict[str, Any], found: dict[str, Origins], own: Origins) -> Site:
    fn, base = msg["fn"], base_distribution(msg["fn"])
    batch_shape, event_shape = tuple(fn.batch_shape), tuple(fn.event_shape)
    return Site(
        name=msg["name"],
        kind=_kind(msg, base),
        distribution=type(base).__name__.lstrip("_"),
        support=_support(fn),
        batch_shape=batch_shape,
        event_shape=event_shape,
        frames=tuple(msg["cond_indep_stack"]),
        arguments=found,
        value_origins=own,
        marks=tuple(_marks(msg, fn)),
    )


def _kind(msg: dict[str, Any], base: Any) -> str:
    if isinstance(base, dist.Unit):
        return "factor"
    if msg["infer"].get("_deterministic"):
        return "deterministic"
    return "observed" if msg["is_observed"] else "latent"


def _support(fn: Any) -> str | None:
    try:
        return describe(fn.support)
    except (NotImplementedError, AttributeError):
        return None


def _marks(msg: dict[str, Any], fn: Any) -> Iterator[str]:
    if msg["infer"].get("_deterministic") or isinstance(base_distribution(fn), dist.Unit):
        return
    name, infer, mask = msg["name"], msg["infer"], msg["mask"]
    if _is_discrete(fn):
        yield "discrete"
    if infer.get("enumerate"):
        yield "enumerated"
    if infer.get("is_auxiliary"):
        yield "auxiliary"
    if any(isinstance(m, ConditionMessenger) and name in m.data for m in _PYRO_STACK):
        yield "conditioned"
    if mask is not None and mask is not True:
        yield "masked"
    if _is_scaled(msg):
        yield "scaled"


def _is_discrete(fn: Any) -> bool:
    try:
        return bool(fn.support.is_discrete)
    except (NotImplementedError, AttributeError):
        return bool(getattr(fn, "has_enumerate_support", False))


def _is_scaled(msg: dict[str, Any]) -> bool:
    """Whether the log-probability is scaled by more than its plates' subsampling."""
    scale = msg["scale"]
    if isinstance(scale, Tensor):
        return True
    for frame in msg["cond_indep_stack"]:
        scale = scale / ((frame.full_size or frame.size) / frame.size if frame.size else 1)
    return abs(scale - 1) > 1e-9


def arguments_of(
    function: Callable[..., Any],
    names: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> dict[str, tuple[Any, Datum]]:
    """Every tensor and array among the arguments, by the argument's name and its place in it."""
    signature = _signature(function)
    if signature is None or any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values()):
        function = names
    found = {}
    for name, value in _bound(function, args, kwargs).items():
        for path, leaf in tree_flatten_with_path(value)[0]:
            if isinstance(leaf, Tensor | np.ndarray):
                full = name + keystr(path).replace("'", "")
                found[full] = (leaf, Datum(full, tuple(leaf.shape), str(leaf.dtype)))
    return found


def _bound(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments by the function's own names for them."""
    signature = _signature(function)
    if signature is None:
        return {**{f"args[{i}]": arg for i, arg in enumerate(args)}, **kwargs}
    named: dict[str, Any] = {}
    for name, value in signature.bind(*args, **kwargs).arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            named.update(value)
        else:
            named[name] = value
    return named


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    if isinstance(function, nn.Module):
        function = function.forward
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _check_call(
    part: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    signature = _signature(function)
    try:
        if signature is not None:
            signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise InputError(
            f"the {part} cannot be called like this: {error}. It is {name}{signature}; "
            "give its arguments as model_args=(...) or model_kwargs={...}"
        ) from error


@contextmanager
def as_found(modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Takes back what the run adds to modules: an autoguide's prototype, a cached tensor."""
    before = [
        (module, dict(vars(module)), {n: v.copy() for n, v in vars(module).items() if _holds(v)})
        for root in modules.values()
        for module in root.modules()
    ]
    try:
        yield
    finally:
        for module, state, contents in before:
            module.__dict__.clear()
            module.__dict__.update(state)
            for name, content in contents.items():
                state[name].clear()
                (state[name].extend if isinstance(content, list) else state[name].update)(content)


def _holds(value: Any) -> bool:
    return isinstance(value, dict | list | set)
