"""``--model``: the class or the function that a name stands for."""

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pyro_vae.models
from pyro_vae.cli.options.parser import find_in_working_directory
from pyro_vae.errors import InputError, unknown


def find_class(name: str) -> type:
    """Return the class that ``--model`` names: one of :mod:`pyro_vae.models`, or ``module.Class``.

    The module may lie in the working directory.

    Raises:
        InputError: there is no such class, or its module raises when it is imported.

    >>> find_class("VAE")
    <class 'pyro_vae.models.vae.VAE'>
    """
    if not isinstance(name, str) or not name:
        raise _error(f"--model cannot be {name!r}", expected="the name of a class")
    if "/" in name or name.endswith(".py"):
        problem = f"--model cannot be the file {name}"
        raise _error(problem, remedy=f"name a class in it, --model {Path(name).stem}.CLASS")
    module_name, _, class_name = name.rpartition(".")
    if not module_name:
        if name not in pyro_vae.models.__all__:
            raise unknown(
                f"there is no model {name!r}",
                name,
                pyro_vae.models.__all__,
                subject="--model",
                listing="a model that `pyro-vae models` lists, or your own as MODULE.CLASS",
            )
        return getattr(pyro_vae.models, name)
    find_in_working_directory(name)
    found = getattr(_import(module_name), class_name, None)
    if not isinstance(found, type):
        classes = [n for n, v in vars(sys.modules[module_name]).items() if isinstance(v, type)]
        problem = f"{module_name} has no class {class_name!r}"
        raise unknown(problem, class_name, classes, subject="--model")
    return found


def find_function(name: str) -> Callable[..., Any] | None:
    """Return the user's function that ``--model`` names, or None if the name is of a class.

    Raises:
        InputError: its module raises when it is imported.
    """
    module_name, _, function_name = name.rpartition(".")
    if not module_name:
        return None
    find_in_working_directory(name)
    found = getattr(_import(module_name), function_name, None)
    return found if inspect.isfunction(found) else None


def path_of(model: type) -> str:
    """Return the name by which :func:`find_class` finds a class."""
    if getattr(pyro_vae.models, model.__name__, None) is model:
        return f"pyro_vae.models.{model.__name__}"
    return f"{model.__module__}.{model.__qualname__}"


def _import(module_name: str) -> ModuleType:
    failure = f"importing {module_name} failed"
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            stems = [path.stem for path in Path().glob("*.py")]
            problem = f"there is no module {error.name!r} in {Path.cwd()} or installed"
            raise unknown(problem, error.name, stems, subject="--model") from error
        raise _error(f"{failure}: {error}") from error
    except SyntaxError as error:
        place = f"line {error.lineno} of {Path(error.filename or module_name).name}"
        raise _error(f"{failure}: {place}: {error.msg}") from error
    except Exception as error:
        raise _error(f"{failure}: {type(error).__name__}: {error}") from error


def _error(problem: str, expected: str | None = None, remedy: str | None = None) -> InputError:
    return InputError(problem, subject="--model", expected=expected, remedy=remedy)
