"""One statement of a program: its distribution, parameters, shapes, plates and marks."""

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
from pyro_vae.graph.record.shapes import SMALL
from pyro_vae.program.trace import kind_of
from pyro_vae.program.wrappers import SHAPES_AND_MASKS, inside

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Statement:
    """Hold one sample, deterministic or factor statement."""

    name: str
    kind: str
    distribution: str
    support: str | None
    batch_shape: Shape
    event_shape: Shape
    log_prob_shape: Shape
    frames: tuple[CondIndepStackFrame, ...]
    parameter_origins: Mapping[str, Origins]  # by parameter of the distribution
    constants: Mapping[str, str]  # those of them that are one number in every call
    value_origins: Origins  # of an observed value
    marks: tuple[str, ...]


def constraint_name(constraint: Any) -> str:
    """Return a constraint in a word or two: ``positive``, ``[0, 1]``, ``{0, 1}``, ``simplex``."""
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


def parameter_origins(fn: Any, tracker: Tracker) -> dict[str, Origins]:
    """Return the origins of each of the distribution's parameters; ``""`` holds all further ones."""
    base = base_distribution(fn)
    named = {name: _origins_in(value, tracker) for name, value in _parameters(base).items()}
    return {**named, "": _origins_in(fn, tracker).difference(*named.values())}


def constant_parameters(fn: Any, tracker: Tracker) -> dict[str, str]:
    """Return the parameters of a distribution that are one constant, or the unit matrix, in words."""
    found: dict[str, str | None] = {}
    for name, value in _parameters(base_distribution(fn)).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = number(float(value))
        elif isinstance(value, Tensor) and tracker.is_constant(value):
            found[name] = _in_words(value.detach())
    return {name: words for name, words in found.items() if words is not None}


def _in_words(value: Tensor) -> str | None:
    if not 0 < value.numel() <= SMALL:
        return None
    first = value.flatten()[0]
    if bool((value == first).all()):
        return number(float(first))
    is_square = value.dim() > 1 and value.shape[-1] == value.shape[-2]
    return "I" if is_square and bool((value == torch.eye(value.shape[-1])).all()) else None


def number(value: float) -> str:
    """Return a number as people write it.

    >>> number(5.0), number(1 / 3), number(25_000.0), number(float(torch.tensor(0.1)))
    ('5', '0.333', '25000', '0.1')
    """
    is_whole = value.is_integer() and abs(value) < 1e6
    return f"{value:.0f}" if is_whole else f"{value:.3g}"


def _parameters(base: Any) -> dict[str, Any]:
    """Return a distribution's parameters by name: those it holds, not those it can derive from them."""
    constraints = _attribute(base, "arg_constraints", {})
    held: dict[str, Any] = {}
    for holder in (base, *vars(base).values()):  # a OneHotCategorical holds a Categorical
        if isinstance(holder, torch.distributions.Distribution):
            held = {n.removeprefix("_unbroadcasted_"): v for n, v in vars(holder).items()} | held
    parameters = {name: held[name] for name in constraints if name in held}
    if not parameters.keys().isdisjoint(("covariance_matrix", "precision_matrix")):
        parameters.pop("scale_tril", None)  # which comes from these
    return parameters or {name: _attribute(base, name) for name in constraints}


def _origins_in(thing: Any, tracker: Tracker) -> Origins:
    return tracker.origins(list(tensors_in(thing)))


def tensors_in(thing: Any, depth: int = 8) -> Iterator[Tensor | np.ndarray]:
    """Return every tensor that a distribution holds, through transforms, modules and containers."""
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
        parts = [*thing.parameters(), *(_attributes_of(thing) if _is_random(thing) else ())]
    elif _is_random(thing) or (hasattr(thing, "__dict__") and _is_of_pyro(thing)):
        parts = _attributes_of(thing)
    for part in parts:
        yield from tensors_in(part, depth - 1)


def _is_random(thing: Any) -> bool:
    kinds = (torch.distributions.Distribution, torch.distributions.Transform)
    return isinstance(thing, kinds) or callable(getattr(thing, "log_prob", None))


def _is_of_pyro(thing: Any) -> bool:
    """Return whether a part of a distribution, such as a Gaussian factor, is Pyro's."""
    return type(thing).__module__.startswith("pyro.ops")


def _attributes_of(thing: Any) -> list[Any]:
    # A transform's cache holds its last draw, which may be another site's.
    return [value for name, value in vars(thing).items() if not name.startswith("_cached")]


def statement_of(
    role: str,
    msg: dict[str, Any],
    parameter_origins: dict[str, Origins],
    constants: dict[str, str],
    value_origins: Origins,
    max_plate_nesting: int | None,
) -> Statement:
    """Return the statement of a Pyro message.

    ``max_plate_nesting``: in a run that enumerates, how many dimensions belong to plates; enumeration's
    own dimensions, to the left of them, do not count.
    """
    fn, base = msg["fn"], base_distribution(msg["fn"])
    batch_shape, event_shape = _shapes(fn, msg["value"])
    frames = tuple(msg["cond_indep_stack"])
    kind = kind_of(role, msg)
    log_prob_shape = _log_prob_shape(batch_shape, event_shape, msg["value"])
    if kind == "deterministic":
        batch_shape, event_shape = _split_at_plates(batch_shape, event_shape, msg["value"], frames)
    num_enumerated = 0
    if max_plate_nesting is not None:
        num_enumerated = max(len(batch_shape) - max_plate_nesting, 0)
    return Statement(
        name=msg["name"],
        kind=kind,
        distribution=_class_name(base).strip("_<>"),
        support=_support(fn),
        batch_shape=batch_shape[num_enumerated:],
        event_shape=event_shape,
        log_prob_shape=log_prob_shape,
        frames=frames,
        parameter_origins=parameter_origins,
        constants=constants,
        value_origins=value_origins,
        marks=tuple(_marks(role, msg)),
    )


def _attribute(thing: Any, name: str, default: Any = None) -> Any:
    """Return an attribute, or the default where a user's class raises."""
    try:
        return getattr(thing, name, default)
    except Exception:
        return default


def _class_name(base: Any) -> str:
    is_function = isinstance(base, FunctionType | MethodType)
    return base.__name__ if is_function else type(base).__name__


def _shapes(fn: Any, value: Any) -> tuple[Shape, Shape]:
    """Return batch and event shape; where ``fn`` declares none, the value is one event."""
    batch, event = _attribute(fn, "batch_shape"), _attribute(fn, "event_shape")
    if batch is None or event is None:
        return (), tuple(_attribute(value, "shape", ()))
    return tuple(batch), tuple(event)


def _split_at_plates(
    batch: Shape, event: Shape, value: Any, frames: Iterable[CondIndepStackFrame]
) -> tuple[Shape, Shape]:
    """Return batch and event shape of a deterministic value, whose own shape holds its plates.

    ``pyro.deterministic`` takes the whole value for one event unless it is given ``event_dim``, and plates
    come on top: 8 values in a plate of 8 would be 8 events of 8.
    """
    shape = tuple(_attribute(value, "shape", ()))
    sizes = {f.dim: f.size for f in frames if f.dim is not None}
    if shape == batch + event or not sizes:
        return batch, event
    for num_batch in range(len(shape), max(-dim for dim in sizes) - 1, -1):
        if all(shape[num_batch + dim] in (size, 1) or size < 0 for dim, size in sizes.items()):
            return shape[:num_batch], shape[num_batch:]
    return batch, event


def _log_prob_shape(batch_shape: Shape, event_shape: Shape, value: Any) -> Shape:
    """Return the log-probability's shape: an observed value may be longer than its distribution."""
    shape = tuple(_attribute(value, "shape", ()))
    try:
        own = shape[: len(shape) - len(event_shape)]
        return tuple(np.broadcast_shapes(batch_shape, own))
    except ValueError:
        return batch_shape


def max_plate_nesting_of(frames: Iterable[CondIndepStackFrame]) -> int:
    """Return how many dimensions the plates take."""
    return max((-frame.dim for frame in frames if frame.dim is not None), default=0)


def _support(fn: Any) -> str | None:
    try:
        return constraint_name(fn.support)
    except Exception:  # a user's class may raise anything
        return None


def _marks(role: str, msg: dict[str, Any]) -> Iterator[str]:
    if kind_of(role, msg) in ("deterministic", "factor"):
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
    except Exception:  # a user's class may raise anything
        return bool(_attribute(fn, "has_enumerate_support", False))


def _is_scaled(msg: dict[str, Any]) -> bool:
    """Return whether the log-probability is scaled by more than its plates' subsampling."""
    scale = msg["scale"]
    for frame in msg["cond_indep_stack"]:  # both are -1 where a plate has no size
        scale = scale / ((frame.full_size or frame.size) / frame.size if frame.size else 1)
    if isinstance(scale, Tensor):
        return scale.is_meta or bool(((scale - 1).abs() > 1e-6).any())
    return abs(scale - 1) > 1e-9


def dtype_of_draw(fn: Any) -> torch.dtype:
    """Return the dtype of a draw: of the values it holds or counts, otherwise of its parameters."""
    base = base_distribution(fn)
    if isinstance(base, torch.distributions.MixtureSameFamily):
        return dtype_of_draw(base.component_distribution)
    if isinstance(base, torch.distributions.Categorical):
        return torch.long
    if isinstance(base, dist.Empirical):
        return base._samples.dtype
    held = [value for value in vars(base).values() if isinstance(value, Tensor)]
    return next((t.dtype for t in held if t.is_floating_point()), torch.get_default_dtype())
