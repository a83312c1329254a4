"""What one statement says of itself: its distribution, parameters, shapes, plates and marks."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from pyro.poutine.condition_messenger import ConditionMessenger
from pyro.poutine.indep_messenger import CondIndepStackFrame
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor, nn

from pyro_vae.graph.record.provenance import Origins, Tracker
from pyro_vae.program.trace import kind_of
from pyro_vae.program.wrappers import SHAPES_AND_MASKS, inside

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Site:
    """One sample, deterministic or factor statement."""

    name: str
    kind: str
    distribution: str
    support: str | None
    batch_shape: Shape
    event_shape: Shape
    counted_shape: Shape  # of its log-probability
    frames: tuple[CondIndepStackFrame, ...]
    arguments: Mapping[str, Origins]  # what each of the distribution's parameters depends on
    value_origins: Origins  # what an observed value depends on
    marks: tuple[str, ...]


def describe(constraint: Any) -> str:
    """A constraint in a word or two: ``positive``, ``[0, 1]``, ``{0, 1}``, ``simplex``."""
    while hasattr(constraint, "base_constraint"):
        constraint = constraint.base_constraint
    name = type(constraint).__name__.lstrip("_")
    low, high = (getattr(constraint, f"{side}_bound", None) for side in ("lower", "upper"))
    if name == "Boolean":
        return "{0, 1}"
    if all(isinstance(bound, int | float) for bound in (low, high)):
        if name == "IntegerInterval":
            return f"{{{low:g}, ..., {high:g}}}"
        return f"[{low:g}, {high:g}" + (")" if name == "HalfOpenInterval" else "]")
    if name.startswith("GreaterThan") and low == 0:
        return "nonnegative" if name.endswith("Eq") else "positive"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def base_distribution(fn: Any) -> Any:
    """The distribution inside Pyro's wrappers for shapes and masks."""
    return inside(fn, SHAPES_AND_MASKS)


def arguments(fn: Any, tracker: Tracker) -> dict[str, Origins]:
    """By parameter of the distribution: what it depends on; ``""`` holds what has no such name."""
    base = base_distribution(fn)
    named = {name: _reach(value, tracker) for name, value in _parameters(base).items()}
    covered = frozenset().union(*named.values())
    return {**named, "": _reach(fn, tracker) - covered}


def _parameters(base: Any) -> dict[str, Any]:
    """A distribution's parameters by name: those it was given, not what it can derive from them."""
    constraints = _asked(base, "arg_constraints", {})
    held: dict[str, Any] = {}
    for holder in (base, *vars(base).values()):  # a OneHotCategorical holds a Categorical
        if isinstance(holder, torch.distributions.Distribution):
            held = {n.removeprefix("_unbroadcasted_"): v for n, v in vars(holder).items()} | held
    found = {name: held[name] for name in constraints if name in held}
    return found or {name: _asked(base, name) for name in constraints}


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
    elif _is_random(thing) or (hasattr(thing, "__dict__") and _is_of_pyro(thing)):
        parts = _held(thing)
    for part in parts:
        yield from held_tensors(part, depth - 1)


def _is_random(thing: Any) -> bool:
    kinds = (torch.distributions.Distribution, torch.distributions.Transform)
    return isinstance(thing, kinds) or callable(getattr(thing, "log_prob", None))


def _is_of_pyro(thing: Any) -> bool:
    """A part of a distribution that is none itself, such as Pyro's Gaussian factors."""
    return type(thing).__module__.startswith("pyro.ops")


def _held(thing: Any) -> list[Any]:
    # a transform's cache holds its last draw, which may be another site's
    return [value for name, value in vars(thing).items() if not name.startswith("_cached")]


def site_of(
    part: str, msg: dict[str, Any], found: dict[str, Origins], own: Origins, nesting: int | None
) -> Site:
    """What a message says; of a run that sums out ``nesting`` dimensions to the left of its plates."""
    fn, base = msg["fn"], base_distribution(msg["fn"])
    batch_shape, event_shape = _shapes(fn, msg["value"])
    frames = tuple(msg["cond_indep_stack"])
    own_shape = (
        batch_shape if nesting is None else batch_shape[max(len(batch_shape) - nesting, 0) :]
    )
    return Site(
        name=msg["name"],
        kind=kind_of(part, msg),
        distribution=_name(base).strip("_<>"),
        support=_support(fn),
        batch_shape=own_shape,
        event_shape=event_shape,
        counted_shape=_counted(batch_shape, event_shape, msg["value"]),
        frames=frames,
        arguments=found,
        value_origins=own,
        marks=tuple(_marks(part, msg)),
    )


def _asked(thing: Any, name: str, default: Any = None) -> Any:
    """An attribute, whatever a person's own class raises in place of it."""
    try:
        return getattr(thing, name, default)
    except Exception:
        return default


def _name(base: Any) -> str:
    is_function = isinstance(base, FunctionType | MethodType)
    return base.__name__ if is_function else type(base).__name__


def _shapes(fn: Any, value: Any) -> tuple[Shape, Shape]:
    """Batch and event shape; of what declares none, the value is one event."""
    batch, event = _asked(fn, "batch_shape"), _asked(fn, "event_shape")
    if batch is None or event is None:
        return (), tuple(_asked(value, "shape", ()))
    return tuple(batch), tuple(event)


def _counted(batch_shape: Shape, event_shape: Shape, value: Any) -> Shape:
    """The shape of the log-probability: an observed value may be longer than its distribution."""
    shape = tuple(_asked(value, "shape", ()))
    try:
        own = shape[: len(shape) - len(event_shape)]
        return tuple(np.broadcast_shapes(batch_shape, own))
    except ValueError:
        return batch_shape


def nesting_of(frames: Iterable[CondIndepStackFrame]) -> int:
    """How many dimensions plates take."""
    return max((-frame.dim for frame in frames if frame.dim is not None), default=0)


def _support(fn: Any) -> str | None:
    try:
        return describe(fn.support)
    except Exception:  # of a person's own class, whatever it raises
        return None


def _marks(part: str, msg: dict[str, Any]) -> Iterator[str]:
    if kind_of(part, msg) in ("deterministic", "factor"):
        return
    name, infer, mask, fn = msg["name"], msg["infer"], msg["mask"], msg["fn"]
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
    except Exception:  # of a person's own class, whatever it raises
        return bool(_asked(fn, "has_enumerate_support", False))


def _is_scaled(msg: dict[str, Any]) -> bool:
    """Whether the log-probability is scaled by more than its plates' subsampling."""
    scale = msg["scale"]
    for frame in msg["cond_indep_stack"]:  # of a plate without a size, both sizes are -1
        scale = scale / ((frame.full_size or frame.size) / frame.size if frame.size else 1)
    if isinstance(scale, Tensor):
        return scale.is_meta or bool(((scale - 1).abs() > 1e-6).any())
    return abs(scale - 1) > 1e-9


def dtype_of_draw(fn: Any) -> torch.dtype:
    """The dtype of the value it holds or indexes with, else that of its parameters."""
    base = base_distribution(fn)
    if isinstance(base, torch.distributions.MixtureSameFamily):
        return dtype_of_draw(base.component_distribution)
    if isinstance(base, torch.distributions.Categorical):
        return torch.long
    if isinstance(base, dist.Empirical):
        return base._samples.dtype
    held = [value for value in vars(base).values() if isinstance(value, Tensor)]
    return next((t.dtype for t in held if t.is_floating_point()), torch.get_default_dtype())
