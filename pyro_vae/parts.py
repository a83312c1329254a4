"""The base class of the parts of a model, and how a model makes them."""

import abc
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Self, get_origin

from torch import nn

from pyro_vae.errors import InputError


class Part(nn.Module, abc.ABC):
    """A module that a model is composed of: a prior, a guide, a likelihood, a network, ...

    A model takes a factory of each part: the class itself, or a ``partial`` of it.

    Attributes:
        is_offered: whether help and listings offer this class (not its subclasses) as a choice.
    """

    is_offered: ClassVar[bool] = True

    @classmethod
    def make(cls, factory: Callable[..., Any], *arguments: Any) -> Self:
        """Return ``factory(*arguments)``.

        Raises:
            InputError: it is not a part of this kind, or the factory does not take these arguments.
        """
        source = factory
        while isinstance(source, partial):
            source = source.func
        name = getattr(source, "__name__", type(source).__name__)
        if isinstance(source, nn.Module):
            raise cls._not_accepted(f"the {cls.__name__} is an object, {name}(...)")
        if get_origin(source) is not None:  # an alias such as PriorFactory
            raise cls._not_accepted(f"the {cls.__name__} is a type hint, {source}")
        if not callable(source):
            raise cls._not_accepted(f"the {cls.__name__} is {source!r}")
        if isinstance(source, type) and not cls.accepts(source):
            raise cls._not_accepted(f"{name} is not of class {cls.__name__}")
        try:
            inspect.signature(factory).bind(*arguments)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{name} cannot be made from what a model passes to a {cls.__name__}: {error}",
                subject=name,
                remedy=f"set its own options with partial({name}, ...)",
            ) from error
        made = factory(*arguments)
        if not cls.accepts(type(made)):
            raise cls._not_accepted(
                f"{name} returns a {type(made).__name__}, which is not of class {cls.__name__}"
            )
        return made

    @classmethod
    def accepts(cls, kind: type) -> bool:
        """Return whether objects of a class can be this part of a model."""
        return issubclass(kind, cls)

    @classmethod
    def _not_accepted(cls, problem: str) -> InputError:
        known = ", ".join(sorted(k.__name__ for k in cls.__subclasses__() if is_choice(k)))
        expected = f"a class such as {known}, or a partial of one"
        return InputError(problem, subject=cls.__name__, expected=expected)


def is_choice(kind: type) -> bool:
    """Return whether help and listings offer a class to the user."""
    is_hidden = inspect.isabstract(kind) or kind.__name__.startswith("_")
    return not is_hidden and bool(vars(kind).get("is_offered", True))
