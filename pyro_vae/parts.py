"""What a part of a model is made by, and what is said where that does not fit."""

import abc
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Self

from torch import nn

from pyro_vae.errors import InputError


class Part(nn.Module, abc.ABC):
    """A module that a model is composed of: a prior, a guide, a likelihood, a network, ...

    A model takes anything that makes one, as the class itself or a ``partial`` of it does.
    """

    @classmethod
    def make(cls, factory: Callable[..., Any], *arguments: Any) -> Self:
        """``factory(*arguments)``, of this kind.

        :raises InputError: it makes no such part, or not of these arguments.
        """
        kind, source = cls.__name__, factory
        while isinstance(source, partial):
            source = source.func
        name = getattr(source, "__name__", type(source).__name__)
        if isinstance(source, nn.Module) or not callable(source):
            found = f"a {name} made already" if isinstance(source, nn.Module) else repr(source)
            raise InputError(
                f"what makes a {kind} is asked for, a class or a partial of one, not {found}"
            )
        if isinstance(source, type) and not cls.may_be(source):
            raise InputError(
                f"{name} does not fit here, as it is no {kind}: take one, such as {cls._known()}"
            )
        try:
            inspect.signature(factory).bind(*arguments)
        except TypeError as error:
            raise InputError(
                f"{name} cannot be made of what a {kind} is made of here: {error}; "
                f"partial({name}, ...) gives it options"
            ) from error
        made = factory(*arguments)
        if not cls.may_be(type(made)):
            raise InputError(
                f"{name} makes a {type(made).__name__}, which is no {kind}: take one, such as "
                f"{cls._known()}"
            )
        return made

    @classmethod
    def may_be(cls, kind: type) -> bool:
        """Whether objects of a class can be this part of a model."""
        return issubclass(kind, cls)

    @classmethod
    def _known(cls) -> str:
        names = (kind.__name__ for kind in cls.__subclasses__() if not inspect.isabstract(kind))
        return ", ".join(sorted(name for name in names if not name.startswith("_")))
