"""The contract: what a program is.

A *program* is a Pyro model and guide that are called with the same arguments. Its *unit* is the plate
over which the evidence factorises; every figure in pyro_vae is per unit.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pyro import poutine
from pyro.poutine.guide import GuideMessenger
from torch import Tensor, nn

from pyro_vae.errors import InputError


@dataclass(frozen=True)
class Program:
    """A model and a guide, and the modules that hold their parameters, by name.

    ``log_evidence`` is log p(x) of each unit, ``units |``, of the same arguments, where it is known.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    modules: Mapping[str, nn.Module] = field(default_factory=dict)
    log_evidence: Callable[..., Tensor] | None = None


def as_program(program: Any) -> Program:
    """The program in ``program``: an object with ``.model`` and ``.guide``, or a pair of callables.

    >>> as_program((lambda x: None, lambda x: None)).modules
    {}
    """
    if isinstance(program, Program):
        return program
    if callable(getattr(program, "model", None)) and callable(getattr(program, "guide", None)):
        model: Callable[..., Any] = program.model
        guide: Callable[..., Any] = program.guide
        of_parts = as_program((model, guide))
        modules = {"": program} if isinstance(program, nn.Module) else of_parts.modules
        return replace(
            of_parts, modules=modules, log_evidence=getattr(program, "log_evidence", None)
        )
    if isinstance(program, tuple) and len(program) == 2 and all(map(callable, program)):
        model, guide = program
        owners = {"model.": _owner(model), "guide.": _owner(guide)}
        if owners["model."] is owners["guide."]:
            owners = {"": owners["model."]}
        modules = {name: m for name, m in owners.items() if m is not None}
        return Program(model, plain_guide(guide), modules)
    raise InputError(
        f"{type(program).__name__} is no program: pass an object with `.model` and `.guide`, "
        "or the pair (model, guide) of callables"
    )


def _owner(function: Callable[..., Any]) -> nn.Module | None:
    """The module whose parameters a callable uses: itself, or the object it is a method of."""
    while isinstance(function, functools.partial):
        function = function.func
    for candidate in (function, getattr(function, "__self__", None)):
        if isinstance(candidate, nn.Module):
            return candidate
    return None


def num_arguments(function: Callable[..., Any]) -> int | None:
    """How many positional arguments a callable needs; None where it takes any number, or needs none.

    >>> num_arguments(lambda x, y=None: None)
    1
    """
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.default is p.empty and p.kind is not p.VAR_KEYWORD for p in parameters) or None


@dataclass(frozen=True)
class Signature:
    """What a program is called with: the names that model and guide give to it, in order.

    ``number`` is how many arguments the model needs, as :func:`num_arguments` counts them. Names are None
    where any number is taken.
    """

    number: int | None
    model: tuple[str, ...] | None
    guide: tuple[str, ...] | None
    needed: frozenset[str]  # of the model's, those without a default


def signature(program: Any) -> Signature:
    """What the model and the guide of a program take.

    >>> signature((lambda x, group, y=None: None, lambda x, group, y=None: None)).model
    ('x', 'group', 'y')
    """
    target = as_program(program)
    model = _parameters(target.model)
    needed = (p.name for p in model or () if p.default is p.empty)
    return Signature(
        num_arguments(target.model),
        _names(model),
        _names(_parameters(target.guide)),
        frozenset(needed),
    )


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """What a callable takes by position; None where that is any number, or nobody knows."""
    function = poutine.unwrap(function)  # of a handler, which has no signature
    function = function.forward if isinstance(function, nn.Module) else function
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # of what is built in
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _names(parameters: list[inspect.Parameter] | None) -> tuple[str, ...] | None:
    return None if parameters is None else tuple(p.name for p in parameters)


def plain_guide(guide: Callable[..., Any]) -> Callable[..., Any]:
    """The guide as a callable that draws the latents and does nothing else.

    Pyro's messenger guides (``AutoNormalMessenger`` and others) run the model inside, and so pass what it
    observes and computes, too; these sites are hidden.
    """
    if isinstance(poutine.unwrap(guide), GuideMessenger):
        return poutine.block(guide, hide_fn=_is_given)
    return guide


def _is_given(msg: Any) -> bool:
    return bool(msg["type"] == "sample" and msg["is_observed"])
