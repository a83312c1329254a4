"""The contract: a program is a Pyro model and guide that are called with the same arguments.

Its *unit* is the plate over which the evidence factorises; every figure in pyro_vae is per unit.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pyro import poutine
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from pyro_vae.errors import InputError


@dataclass(frozen=True)
class Program:
    """Hold a model and a guide, and what is known about them.

    Attributes:
        model: called with the data.
        guide: likewise.
        modules: those that hold the parameters, by name.
        log_evidence: gives log p(x) of each unit, ``units |``, from the same arguments, where it is known.
        derived_parameters: gives functions of the parameters that a reader wants to see, by name, with
            their graph.
        proposal: how the guide was changed to propose values, in phrases.
        unrefined_guide: the guide without the noise of a fit to each batch, if ``guide`` makes one.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    modules: Mapping[str, nn.Module] = field(default_factory=dict)
    log_evidence: Callable[..., Tensor] | None = None
    derived_parameters: Callable[[], Mapping[str, Tensor]] | None = None
    proposal: tuple[str, ...] = ()
    unrefined_guide: Callable[..., Any] | None = None


def held_program(thing: Any) -> Any:
    """Return the program that a result holds, such as that of a fit; anything else comes back as it is.

    >>> held_program(("model", "guide"))
    ('model', 'guide')
    """
    is_result = hasattr(thing, "program") and not hasattr(thing, "model")
    return thing.program if is_result else thing


def as_program(program: Any) -> Program:
    """Return a program from an object with ``.model`` and ``.guide``, or from a pair of callables.

    An object with ``.program`` and no ``.model``, as what ``fit`` returns, stands for that program.

    Raises:
        InputError: ``program`` is none of these.

    >>> as_program((lambda x: None, lambda x: None)).modules
    {}
    """
    program = held_program(program)
    if isinstance(program, Program):
        return program
    if callable(getattr(program, "model", None)) and callable(getattr(program, "guide", None)):
        model: Callable[..., Any] = program.model
        guide: Callable[..., Any] = program.guide
        of_parts = as_program((model, guide))
        modules = {"": program} if isinstance(program, nn.Module) else of_parts.modules
        return replace(
            of_parts,
            modules=modules,
            log_evidence=getattr(program, "log_evidence", None),
            derived_parameters=getattr(program, "derived_parameters", None),
        )
    if isinstance(program, tuple) and len(program) == 2 and all(map(callable, program)):
        model, guide = program
        owners = {"model.": _owner(model), "guide.": _owner(guide)}
        if owners["model."] is owners["guide."]:
            owners = {"": owners["model."]}
        modules = {name: m for name, m in owners.items() if m is not None}
        return Program(model, plain_guide(guide), modules)
    raise InputError(
        f"{type(program).__name__} is not a program",
        subject="program",
        expected="an object with `.model` and `.guide`, or the pair (model, guide) of callables",
        remedy="fit a model alone by fit(model, data), whose result has a `.program`; "
        "log_evidence(model, data, method='auto') needs no guide",
    )


def _owner(function: Callable[..., Any]) -> nn.Module | None:
    """Return the module whose parameters a callable uses: itself, or the object it is a method of."""
    while isinstance(function, functools.partial):
        is_handled = function.args and isinstance(function.args[0], Messenger)  # by Pyro
        function = function.args[1] if is_handled else function.func
    for candidate in (function, getattr(function, "__self__", None)):
        if isinstance(candidate, nn.Module):
            return candidate
    return None


def num_arguments(function: Callable[..., Any]) -> int | None:
    """Return how many positional arguments a callable needs; None if it takes any number, or needs none.

    >>> num_arguments(lambda x, y=None: None)
    1
    """
    unwrapped = poutine.unwrap(function)  # a handler has no signature
    parameters = inspect.signature(unwrapped).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.default is p.empty and p.kind is not p.VAR_KEYWORD for p in parameters) or None


@dataclass(frozen=True)
class Signature:
    """Hold the names of a program's arguments, in order, in the model and in the guide.

    ``number`` is how many arguments the model needs, by :func:`num_arguments`. Names are None where any
    number is taken.
    """

    number: int | None
    model: tuple[str, ...] | None
    guide: tuple[str, ...] | None
    needed: frozenset[str]  # the model's arguments without a default


def signature(program: Any) -> Signature:
    """Return the arguments that the model and the guide of a program take.

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
    """Return a callable's positional parameters; None if it takes any number, or they are not known."""
    function = poutine.unwrap(function)  # a handler has no signature
    function = function.forward if isinstance(function, nn.Module) else function
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # of a builtin
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _names(parameters: list[inspect.Parameter] | None) -> tuple[str, ...] | None:
    return None if parameters is None else tuple(p.name for p in parameters)


def plain_guide(guide: Callable[..., Any]) -> Callable[..., Any]:
    """Return the guide as a callable that draws the latents and does nothing else.

    Pyro's messenger guides (``AutoNormalMessenger`` and others) run the model inside, so its observed and
    computed sites show, too; these are hidden here.
    """
    if isinstance(poutine.unwrap(guide), GuideMessenger):
        return poutine.block(guide, hide_fn=_is_given)
    return guide


def _is_given(msg: Any) -> bool:
    return bool(msg["type"] == "sample" and msg["is_observed"])
