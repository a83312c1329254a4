"""``--model``: the class that a name means, and the model that its options make."""

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

import pyro_vae.models
from pyro_vae.cli.options.parser import look_here_for
from pyro_vae.data import Argument, DataSet
from pyro_vae.data.arguments import in_order
from pyro_vae.errors import InputError, nearest
from pyro_vae.program.contract import num_arguments, signature

# a constructor's parameter of such a name is no option: the data fill it
FILLED: dict[str, Callable[[DataSet], Any]] = {
    "data_shape": lambda data: _shape_of_x(data),
    "num_classes": lambda data: data.num_classes,  # None where there are no labels
    "levels": lambda data: data.values.levels,  # None where values are real
}


def _shape_of_x(data: DataSet) -> tuple[int, ...]:
    """The shape of a datum, or of the argument ``x``, or of the first where none is named so."""
    argument = data.train.main_argument
    return tuple(data.event_shape) if argument is None else argument.shape


def fillers(arguments: Iterable[str]) -> dict[str, Callable[[DataSet], Any]]:
    """``FILLED``, and of each argument NAME that is a category ``num_NAME``: how many levels it has."""

    def levels_of(name: str) -> Callable[[DataSet], Any]:
        return lambda data: data.train.num_levels(name)

    return FILLED | {f"num_{name}": levels_of(name) for name in arguments}


def find_class(name: str) -> type:
    """The class that ``--model`` names: one of :mod:`pyro_vae.models`, or ``module.Class``.

    The module is imported, from the working directory too.

    :raises InputError: there is no such class, or its module raises when it is imported.

    >>> find_class("VAE")
    <class 'pyro_vae.models.vae.VAE'>
    """
    if not isinstance(name, str) or not name:
        raise InputError(f"--model takes the name of a class, not {name!r}")
    if "/" in name or name.endswith(".py"):
        stem = Path(name).stem
        raise InputError(f"--model takes a class, not a file: say {stem}.CLASS beside {stem}.py")
    module_name, _, class_name = name.rpartition(".")
    if not module_name:
        if name not in pyro_vae.models.__all__:
            raise InputError(
                f"there is no model {name!r}{nearest(name, pyro_vae.models.__all__)} "
                "(a class of your own is named MODULE.CLASS)"
            )
        return getattr(pyro_vae.models, name)
    look_here_for(name)
    found = getattr(_import(module_name), class_name, None)
    if not isinstance(found, type):
        classes = [n for n, v in vars(sys.modules[module_name]).items() if isinstance(v, type)]
        raise InputError(f"{module_name} has no class {class_name!r}{nearest(class_name, classes)}")
    return found


def find_function(name: str) -> Callable[..., Any] | None:
    """The function of one's own that ``--model`` names; None where it names a class.

    :raises InputError: its module raises when it is imported.
    """
    module_name, _, function_name = name.rpartition(".")
    if not module_name:
        return None
    look_here_for(name)
    found = getattr(_import(module_name), function_name, None)
    return found if inspect.isfunction(found) else None


def path_of(model: type) -> str:
    """The name under which :func:`find_class` finds a class again."""
    if getattr(pyro_vae.models, model.__name__, None) is model:
        return f"pyro_vae.models.{model.__name__}"
    return f"{model.__module__}.{model.__qualname__}"


def _import(module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            stems = [path.stem for path in Path().glob("*.py")]
            raise InputError(
                f"there is no module {error.name!r} in {Path.cwd()} or installed"
                + (nearest(error.name, stems) if stems else "")
            ) from error
        raise InputError(f"importing {module_name} failed: {error}") from error
    except SyntaxError as error:
        where = f"{Path(error.filename or module_name).name}, line {error.lineno}"
        raise InputError(f"importing {module_name} failed: {where}: {error.msg}") from error
    except Exception as error:
        raise InputError(
            f"importing {module_name} failed: {type(error).__name__}: {error}"
        ) from error


def filled(model: type, data: DataSet) -> dict[str, Any]:
    """What the data say of the parameters of the model's constructor.

    :raises InputError: it needs to know how many classes or levels there are, and the data do not say.
    """
    parameters, arguments = inspect.signature(model).parameters, data.train.arguments or ()
    fill_in = fillers(argument.name for argument in arguments)
    values = {name: fill(data) for name, fill in fill_in.items() if name in parameters}
    unknown = {name: parameters[name].default for name, value in values.items() if value is None}
    if unknown.get("levels") is inspect.Parameter.empty:
        raise InputError(
            f"{model.__name__} needs values on levels, and {data.name} has {data.values}: leave "
            "--standardize out, or binarise them (--binarize threshold)"
        )
    for argument in arguments:
        if unknown.get(f"num_{argument.name}", 0) in (None, inspect.Parameter.empty):
            raise InputError(
                f"{model.__name__} needs to know how many levels the argument {argument.name!r} has, and "
                f"it is no category: --kinds {_column_names(data, argument)}=category makes it one"
            )
    if unknown.get("num_classes", 0) in (None, inspect.Parameter.empty):
        raise InputError(
            f"{model.__name__} needs labels, and {data.name} has none: --label names a table's column or "
            "an archive's array, and a folder of images has a folder for each class"
        )
    return {name: value for name, value in values.items() if value is not None}


def check_takes_arguments(model: type, data: DataSet) -> None:
    """:raises InputError: the class has a model, or a guide, that does not take the data's arguments."""
    methods = [getattr(model, name, None) for name in ("model", "guide")]
    if data.train.arguments is None or not callable(methods[0]):
        return
    of_self = [partial(m, None) if callable(m) else lambda *args: None for m in methods]
    in_order(data.train.arguments, signature((of_self[0], of_self[1])))


def _column_names(data: DataSet, argument: Argument) -> str:
    return ", ".join(column.name for column in data.train.columns_of(argument) or ())


def grows_without_bound(model: type, data: DataSet) -> str | None:
    """What is to be said of a density, of real values, of data that take few."""
    levels, stored = data.values.levels, data.train
    if levels is None and stored.x.dtype == torch.uint8:  # they are standardised
        levels = round(stored.encoding.unit) + 1
    if not issubclass(model, pyro_vae.models.FlowDensity) or levels is None:
        return None
    return (
        f"x takes {levels} levels, so a density of it can grow without bound: DequantizedFlow, with "
        f"levels={levels}, gives probabilities{' (without --standardize)' * (data.values.levels is None)}"
    )


def check_takes_labels(model: type) -> None:
    """:raises InputError: the model takes no labels, of which some are to be kept."""
    takes = num_arguments(model.model) if hasattr(model, "model") else None  # with self
    if takes is not None and takes < 3:
        raise InputError(
            f"--labelled keeps the labels of some rows, and {model.__name__} takes no labels: leave it "
            "out, or take SemiSupervisedVAE"
        )


def check_labels_are_seen(model: type, data: DataSet) -> None:
    """:raises InputError: rows have no label, and the model needs one of each."""
    if getattr(model, "labels_may_be_unseen", True):
        return
    for name, split in data.splits.items():
        missing = 0 if split.labels is None else int((split.labels < 0).sum())
        if missing:
            raise InputError(
                f"{missing:,} {name} rows of {data.name} have no label, and {model.__name__} needs one of "
                "each: leave these rows out, or take SemiSupervisedVAE"
            )
