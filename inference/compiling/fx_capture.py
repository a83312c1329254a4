"""A training step's loss and gradients as a graph of tensor operations, with no Python left in it.

The graph is what torch's own tracer sees of one run of model, guide, ELBO and backward pass. Whatever
Python did in that run is frozen into it, so a program is refused where Python has a say in every run:
control flow on values, numbers from elsewhere than the arguments and torch's generators, side effects.
"""

import contextlib
import os
import pickle
import random
import sys
import textwrap
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import pyro
import torch
from pyro.distributions import constraints
from pyro.infer.util import Dice
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)
from torch.distributions import Distribution
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.overrides import TorchFunctionMode

from pyro_vae.inference.compiling.constants import Answers, share_memory

NOT_THEIRS = (
    *(f"{Path(file).parent}{os.sep}" for file in (torch.__file__, pyro.__file__, __file__)),
    contextlib.__file__,
)


class CannotCapture(Exception):
    """Why a step stays in Python: a clause that names the site."""


@dataclass(frozen=True)
class Graph:
    """``module(*tensors, *arguments)`` is the step.

    ``tensors`` are those it read without having got them as arguments: parameters, buffers,
    constants; the very objects, so that an update in place reaches the graph. ``answers`` are what
    Python was told of constants, ``fixed`` the tensors that this follows from, with their versions.
    """

    module: fx.GraphModule
    tensors: list[Tensor]
    answers: list[Any] = field(default_factory=list)
    fixed: list[tuple[Tensor, int]] = field(default_factory=list)


def capture(function: Callable[..., Any], *arguments: Tensor) -> Graph:
    """The graph of ``function``, of nothing but tensors to a tuple of tensors and Nones.

    It is run twice without values, and must do the same both times.

    :raises CannotCapture: Python has a say in every run.
    """
    first, second = trace(function, *arguments), trace(function, *arguments)
    if first.module.code != second.module.code:
        difference = _first_difference(first.module.code, second.module.code)
        raise CannotCapture(f"it does not do the same in every run ({difference})")
    if first.answers != second.answers:
        raise CannotCapture(
            "it does not do the same in every run (what Python is told of a constant)"
        )
    for one, other in zip(first.tensors, second.tensors, strict=True):
        if one is not other and not same_value(one, other):
            raise CannotCapture(
                f"a constant of shape {tuple(one.shape)} is another one in every run: it comes from a "
                "counter, from NumPy or from Python's random numbers"
            )
    return first


def trace(function: Callable[..., Any], *arguments: Tensor, all_fixed: bool = False) -> Graph:
    """:func:`capture`, by one run alone: for those that look at the outcome.

    :param all_fixed: whether parameters stay as they are, so that Python may know their values.
    """
    answers = Answers(all_fixed)

    def answered(*fake: Tensor) -> Any:
        with answers:
            return function(*fake)

    with _LastSite() as last:
        try:
            module = make_fx(answered, tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)
        except Exception as error:
            raise CannotCapture(_why(error, last, answers)) from error
    graph = _with_tensors_as_inputs(module)
    if not all_fixed and share_memory(answers.held, [t for t in graph.tensors if t.requires_grad]):
        raise CannotCapture("Python needs to know a parameter's value")
    fixed = [(tensor, tensor._version) for tensor in answers.held]
    return replace(graph, answers=answers.given, fixed=fixed)


def _with_tensors_as_inputs(module: fx.GraphModule) -> Graph:
    """Makes inputs, in front of all others, of the tensors that the graph holds."""
    graph = module.graph
    graph.eliminate_dead_code()
    start = next(iter(graph.nodes))
    inputs: dict[int, fx.Node] = {}
    tensors: list[Tensor] = []
    for node in list(graph.nodes):
        if node.op == "get_attr":
            tensor = getattr(module, node.target)
            if isinstance(tensor, torch.Generator):
                raise CannotCapture("it draws from a generator of its own, not torch's global one")
            if id(tensor) not in inputs:
                with graph.inserting_before(start):
                    inputs[id(tensor)] = graph.placeholder(f"tensor{len(tensors)}")
                inputs[id(tensor)].meta = {"val": tensor}
                tensors.append(tensor)
            node.replace_all_uses_with(inputs[id(tensor)])
            graph.erase_node(node)
    return Graph(fx.GraphModule({}, graph), tensors)


def _why(error: Exception, last: "_LastSite", answers: Answers) -> str:
    where = _line(traceback.extract_tb(error.__traceback__))
    if isinstance(error, DataDependentOutputException | GuardOnDataDependentSymNode):
        return f"Python needs to know a tensor's value {last}{where}"
    if "data is not allocated" in str(error):  # torch's words for a value that is only traced
        return f"Python or NumPy needs to know a tensor's value {last}{where}"
    if isinstance(error, DynamicOutputShapeException):
        return f"a shape depends on a tensor's values {last}{where}"
    reason = f"{type(error).__name__} {last}: {next(iter(str(error).strip().splitlines()), '')}"
    if not answers.open:
        return reason
    return f"Python needs to know a tensor's value{_line(answers.open)}; then came {reason}"


def _line(frames: Iterable[traceback.FrameSummary]) -> str:
    """The last line of the person's own code, in brackets."""
    theirs = [frame for frame in frames if not frame.filename.startswith(NOT_THEIRS)]
    if not theirs:
        return ""
    code = textwrap.shorten(theirs[-1].line or "", 80)
    shown = f": `{code}`" if code else ""  # of a notebook's cell there may be none
    return f" (line {theirs[-1].lineno} of {Path(theirs[-1].filename).name}{shown})"


def _first_difference(one: str, other: str) -> str:
    for line, other_line in zip(one.splitlines(), other.splitlines(), strict=False):
        if line != other_line:
            return " / ".join(x.split(";")[0].split("torch.ops.")[-1] for x in (line, other_line))
    return "one run has more operations"


def same_value(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


class _LastSite(Messenger):
    """Remembers how far a program came."""

    def __init__(self) -> None:
        super().__init__()
        self.name: str | None = None

    def __str__(self) -> str:
        return "before the first site" if self.name is None else f"after site {self.name!r}"

    def _pyro_post_sample(self, msg: Any) -> None:
        if not isinstance(msg["fn"], _Subsample):
            self.name = msg["name"]


# --- Pyro's checks, as a tensor -----------------------------------------------------------------


class Checks(Messenger):
    """Whether every distribution's arguments and every value are where they belong.

    What validation asserts site by site, as one boolean tensor, for a graph that cannot stop in the
    middle. ``complete`` is False where a check itself could not be captured.
    """

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[Tensor] = []
        self.complete = True

    def all_passed(self, like: Tensor) -> Tensor:
        """Shape ``|``, boolean."""
        return torch.stack([torch.ones_like(like, dtype=torch.bool), *self.passed]).all()

    def _pyro_post_sample(self, msg: Any) -> None:
        fn = msg["fn"]
        if isinstance(fn, _Subsample):
            return
        parts = list(_parts_of(fn))
        if not any(_is_unwanted(part) for part in parts):
            with suppress(NotImplementedError):  # no support is known
                self._check(fn.support, msg["value"])
        for part in parts:
            for name, constraint in getattr(part, "arg_constraints", {}).items():
                # as torch does it: arguments that were given, not those derived from them when asked for
                is_given = name in part.__dict__ and not constraints.is_dependent(constraint)
                if is_given and not _is_unwanted(part):
                    self._check(constraint, getattr(part, name))

    def _check(self, constraint: Any, value: Any) -> None:
        try:
            self.passed.append(constraint.check(value).all())
        except (
            DataDependentOutputException,
            DynamicOutputShapeException,
            GuardOnDataDependentSymNode,
        ):
            self.complete = False


def _parts_of(fn: Any) -> Iterator[Any]:
    """A distribution and those that it is made of."""
    yield fn
    for part in list(vars(fn).values()):
        if isinstance(part, Distribution):
            yield from _parts_of(part)


def _is_unwanted(fn: Any) -> bool:
    """Whether a person has asked for no validation of a distribution; see :class:`_Unchecked`."""
    return getattr(fn, "_validate_args", None) is False


class _Unchecked:
    """An attribute `_validate_args` that says 0 of each distribution, or False where that was asked for.

    In the class's place it answers for an instance, too, that was made with validation, at any time
    and in any other.
    """

    def __get__(self, fn: Any, kind: Any) -> Literal[0, False]:
        return False if fn is not None and vars(fn).get("_validate_args") is False else 0

    def __set__(self, fn: Any, value: Any) -> None:
        if isinstance(value, bool):
            vars(fn)["_validate_args"] = value
        else:  # copied from another one, as `expand` does it
            vars(fn).pop("_validate_args", None)


@contextmanager
def unchecked() -> Iterator[None]:
    """Without validation, which would read values; :class:`Checks` takes its place."""
    replaced: dict[str, Any] = {"_validate_args": _Unchecked(), "_validate_sample": _as_it_is}
    with pyro.validation_enabled(False), mock.patch.multiple(Distribution, **replaced):
        yield


@contextmanager
def without_item(elbo: Any) -> Iterator[None]:
    """Lets a Pyro ELBO leave its figures on the device: its `.item()` and NaN warning wait for them."""
    replaced = {"torch_item": _detached, "warn_if_nan": _as_it_is}
    modules = {sys.modules[kind.__module__] for kind in type(elbo).__mro__}
    before = [
        (module, name, getattr(module, name))
        for module in modules
        for name in replaced
        if hasattr(module, name)
    ]
    try:
        for module, name, _ in before:
            setattr(module, name, replaced[name])
        with _AllTermsCount():
            yield
    finally:
        for module, name, function in before:
            setattr(module, name, function)


class _AllTermsCount(TorchFunctionMode):
    """Answers for Pyro's Dice whether all of the enumerated values have a positive probability.

    It asks so as to leave out the others' costs. Summing them all is the same, or NaN where an
    infinite cost met a probability of 0; and a loss that is NaN is computed again by Pyro.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.__bool__ and sys._getframe(1).f_code is Dice.compute_expectation.__code__:
            return True
        return func(*args, **(kwargs or {}))


def _detached(x: Any) -> Any:
    return x.detach() if isinstance(x, Tensor) else x


def _as_it_is(value: Any, *_: Any, **__: Any) -> Any:
    return value


# --- side effects -------------------------------------------------------------------------------

DEPTH, LENGTH = 6, 1000  # how deep, and into how large containers, side effects are looked for


def side_effect(function: Callable[[], Any], owners: Mapping[str, Any]) -> str | None:
    """What a call of ``function`` leaves behind in Python, or None.

    Parameters and buffers that are written in place do not count: a graph does that, too.

    :param owners: the objects and functions, by name, to look into.
    """
    function()  # what only the first call does is no matter
    generators = random.getstate(), _numpy_state()
    before = dict(_state_of(owners))
    torch.rand(8)  # other noise, so that what is drawn and kept is seen to change
    function()
    if random.getstate() != generators[0]:
        return "it draws from Python's `random`"
    if _numpy_state() != generators[1]:
        return "it draws from NumPy's global generator"
    after = dict(_state_of(owners))
    for name in before.keys() | after.keys():
        if name not in before or name not in after or not _same(before[name], after[name]):
            return f"every run changes `{name}`"
    return None


def _numpy_state() -> bytes:
    return pickle.dumps(np.random.get_state())  # noqa: NPY002


def tensors_of(owners: Mapping[str, Any]) -> list[Tensor]:
    """The tensors that objects and functions hold."""
    return [value for _, value in _state_of(owners) if isinstance(value, Tensor)]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one is other or same_value(one, other)
    return bool(one is other or (type(one) is type(other) and one == other))


def _state_of(owners: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Paths and values of what objects and functions hold, as far as it can be compared."""
    seen: set[int] = set()

    def walk(name: str, value: Any, depth: int) -> Iterator[tuple[str, Any]]:
        if isinstance(value, bool | int | float | complex | str | bytes | None | Tensor):
            yield name, value
            return
        if depth == 0 or id(value) in seen or isinstance(value, type | types.ModuleType):
            return
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            yield name, value.tobytes()
        elif isinstance(value, Mapping | list | tuple | set | frozenset):
            yield f"len({name})", len(value)
            if len(value) <= LENGTH and not isinstance(value, set | frozenset):
                pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
                for key, part in list(pairs):
                    yield from walk(f"{name}[{key!r}]", part, depth - 1)
        else:
            for part_name, part in _parts(value):
                yield from walk(f"{name}.{part_name}" if name else part_name, part, depth - 1)

    for name, owner in owners.items():
        yield from walk(name, owner, DEPTH)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """An object's attributes; for a function, what it closes over and the globals that it names."""
    if isinstance(value, types.MethodType):
        yield from _parts(value.__func__)
        yield "self", value.__self__
    elif isinstance(value, types.FunctionType):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                yield name, cell.cell_contents
            except ValueError:  # not yet filled
                continue
        for name in value.__code__.co_names:
            if name in value.__globals__:
                yield name, value.__globals__[name]
    elif isinstance(value, nn.Module):
        for path, module in value.named_modules():  # however deep a network is
            for name, part in _attributes(module):
                if name != "_modules":
                    yield f"{path}.{name}" if path else name, part
    else:
        yield from _attributes(value)


def _attributes(value: Any) -> list[tuple[str, Any]]:
    # a transform remembers its last result, to be found again by the identity of its input
    is_transform = isinstance(value, torch.distributions.Transform)
    attributes = list(getattr(value, "__dict__", {}).items())
    return [(n, p) for n, p in attributes if not (is_transform and n.startswith("_cache"))]
