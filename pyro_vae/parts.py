"""The base class of the parts of a model, and how a model makes them."""

import abc
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from torch import nn

from pyro_vae.errors import InputError


class Part(nn.Module, abc.ABC):
    """A module that a model is composed of: a prior, a guide, a likelihood, a network, ...

    A model takes a factory of each part: the class itself, or a ``partial`` of it.
    """

    @classmethod
    def make(cls, factory: Callable[..., Any], *arguments: Any) -> Self:
        """Return ``factory(*arguments)``.

        Raises:
            InputError: it is not a part of this kind, or the factory does not take these arguments.
        """
        kind, source = cls.__name__, factory
        while isinstance(source, partial):
            source = source.func
        name = getattr(source, "__name__", type(source).__name__)
        if isinstance(source, nn.Module) or not callable(source):
            found = f"a {name} object" if isinstance(source, nn.Module) else repr(source)
            problem = f"{found} does not make a {kind}"
            raise InputError(problem, subject=kind, expected="a class, or a partial of one")
        if isinstance(source, type) and not cls.accepts(source):
            raise cls._not_accepted(f"{name} does not fit here, as it is not of class {kind}")
        try:
            inspect.signature(factory).bind(*arguments)
        except TypeError as error:
            raise InputError(
                f"{name} does not take the arguments of a {kind} here: {error}",
                subject=name,
                remedy=f"give it its options with partial({name}, ...)",
            ) from error
        made = factory(*arguments)
        if not cls.accepts(type(made)):
            raise cls._not_accepted(
                f"{name} makes a {type(made).__name__}, which is not of class {kind}"
            )
        return made

    @classmethod
    def accepts(cls, kind: type) -> bool:
        """Return whether objects of a class can be this part of a model."""
        return issubclass(kind, cls)

    @classmethod
    def _not_accepted(cls, problem: str) -> InputError:
        names = (kind.__name__ for kind in cls.__subclasses__() if not inspect.isabstract(kind))
        known = ", ".join(sorted(name for name in names if not name.startswith("_")))
        return InputError(problem, subject=cls.__name__, remedy=f"take one, such as {known}")
