"""Pyro's and torch's checks of values as operations of a graph, which cannot stop in the middle."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import pyro
import torch
from pyro.distributions import constraints
from pyro.infer.util import Dice, torch_item
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from pyro.util import warn_if_nan
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)
from torch.distributions import Distribution
from torch.overrides import TorchFunctionMode

from pyro_vae.inference.compiling.thread_patch import ThreadPatch


class ValidationOps(Messenger):
    """Compute what validation asserts at each site as one boolean tensor.

    Attributes:
        results: whether each distribution's arguments and each value lie where they must, ``|`` each.
        is_complete: False where a check itself could not be captured.
    """

    def __init__(self) -> None:
        super().__init__()
        self.results: list[Tensor] = []
        self.is_complete = True

    def all_passed(self, like: Tensor) -> Tensor:
        """Return whether all checks passed, shape ``|``, on the device of ``like``."""
        return torch.stack([torch.ones_like(like, dtype=torch.bool), *self.results]).all()

    def _pyro_post_sample(self, msg: Any) -> None:
        fn = msg["fn"]
        if isinstance(fn, _Subsample):
            return
        components = list(_components(fn))
        if not any(map(_is_opted_out, components)):
            with suppress(NotImplementedError):  # no support is known
                self._check(fn.support, msg["value"])
        for component in components:
            for name, constraint in getattr(component, "arg_constraints", {}).items():
                # as torch does it: arguments that were given, not those derived from them later
                is_given = name in component.__dict__ and not constraints.is_dependent(constraint)
                if is_given and not _is_opted_out(component):
                    self._check(constraint, getattr(component, name))

    def _check(self, constraint: Any, value: Any) -> None:
        from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

        try:
            self.results.append(constraint.check(value).all())
        except (
            DataDependentOutputException,
            DynamicOutputShapeException,
            GuardOnDataDependentSymNode,
        ):
            self.is_complete = False


def _components(fn: Any) -> Iterator[Any]:
    """Yield a distribution and those that it is made of."""
    yield fn
    for part in list(vars(fn).values()):
        if isinstance(part, Distribution):
            yield from _components(part)


def _is_opted_out(fn: Any) -> bool:
    """Return whether a distribution was made with ``validate_args=False``."""
    return getattr(fn, "_validate_args", None) is False


# --- validation switched off ------------------------------------------------------------------


class _ValidateArgs:
    """Stand in for ``Distribution._validate_args``: 0, or False where ``validate_args=False`` was given.

    As a descriptor of the class it also answers for instances that were made with validation, at any time.
    """

    def __init__(self, original: bool) -> None:
        self.original = original

    def __get__(self, fn: Any, kind: Any) -> Any:
        own = None if fn is None else vars(fn).get("_validate_args")
        if not _VALIDATE_ARGS.is_active:
            return self.original if own is None else own
        answer: Literal[0, False] = False if own is False else 0
        return answer

    def __set__(self, fn: Any, value: Any) -> None:
        if isinstance(value, bool):
            vars(fn)["_validate_args"] = value
        else:  # copied from another instance, as `expand` does it
            vars(fn).pop("_validate_args", None)


def _sample_validation(original: Any) -> Any:
    def validate_sample(fn: Any, value: Any) -> None:
        if not _VALIDATE_SAMPLE.is_active:
            original(fn, value)

    return validate_sample


_VALIDATE_ARGS = ThreadPatch(Distribution, "_validate_args", _ValidateArgs)
_VALIDATE_SAMPLE = ThreadPatch(Distribution, "_validate_sample", _sample_validation)


@contextmanager
def without_validation() -> Iterator[None]:
    """Switch off validation, which would read values; :class:`ValidationOps` takes its place."""
    with pyro.validation_enabled(False), _VALIDATE_ARGS.active(), _VALIDATE_SAMPLE.active():
        yield


# --- values that Pyro's ELBOs read ----------------------------------------------------------------

_REQUIRES_GRAD = torch.Tensor.requires_grad.__get__  # type: ignore[attr-defined]


class ValuesOnDevice(TorchFunctionMode):
    """Answer what Pyro's ELBOs ask of a tensor's value, without waiting for the device.

    ``torch_item`` gets the tensor itself, and ``warn_if_nan`` the answer that there is no NaN. Dice asks
    whether all enumerated values have a positive probability, to leave out the costs of the others. The
    answer is yes: summing all costs gives the same, or NaN where an infinite cost meets a probability of 0,
    and Pyro computes a loss that is NaN again.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        caller = sys._getframe(1).f_code
        if caller is torch_item.__code__ and func is Tensor.item:
            return args[0].detach()
        if caller is warn_if_nan.__code__ and (func is Tensor.__bool__ or func == _REQUIRES_GRAD):
            return False
        if caller is Dice.compute_expectation.__code__ and func is Tensor.__bool__:
            return True
        return func(*args, **(kwargs or {}))
