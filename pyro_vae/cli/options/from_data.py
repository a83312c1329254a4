"""Options of a model that the data determine where the user left them open: sizes, and parts that suit."""

import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

from pyro_vae.cli.options.likelihood import PartConfig, display, likelihood_for, likelihood_of
from pyro_vae.cli.options.model import path_of
from pyro_vae.data import DataSet
from pyro_vae.errors import InputError
from pyro_vae.likelihoods import Missing
from pyro_vae.networks import MaskedInput

MIN_IMAGE_SIZE = 8  # height and width: three halvings leave one pixel
CONVOLUTIONS: PartConfig = {
    "encoder": {"class_path": "pyro_vae.networks.ConvEncoder", "init_args": {}},
    "decoder": {"class_path": "pyro_vae.networks.ConvDecoder", "init_args": {}},
}

FromData = Callable[[DataSet], Any]


def _shape_of_x(data: DataSet) -> tuple[int, ...]:
    """Return the shape of a row, of the argument ``x`` where the model takes columns by name."""
    argument = data.train.main_argument
    return tuple(data.event_shape) if argument is None else argument.shape


def num_categories(data: DataSet) -> int | None:
    """Return K if all values are categories 0, ..., K - 1, otherwise None."""
    values = data.values
    if values.levels == 2:
        return 2
    are_categories = values.levels is None and values.is_whole and values.low >= 0
    return max(2, int(values.high) + 1) if are_categories else None


def column_likelihoods(data: DataSet) -> list[PartConfig] | None:
    """Return a likelihood for each column of a table, or of the argument x."""
    columns = data.train.columns_of(data.train.main_argument)
    return None if columns is None else [likelihood_of(column) for column in columns]


def category_counts(data: DataSet) -> list[int] | None:
    """Return the number of categories of each column of a table, or of the argument x; 0 for numbers."""
    columns = data.train.columns_of(data.train.main_argument)
    return None if columns is None else [column.num_categories for column in columns]


# parameters of a constructor that are never options: the data set them
SIZES: dict[str, FromData] = {
    "data_shape": _shape_of_x,
    "num_classes": lambda data: data.num_classes,  # None without labels
    "levels": lambda data: data.values.levels,  # None for real values
}
# parameters of a model or of its parts, at any depth, that the data set unless the user does; None: unknown
INFERRED: dict[str, FromData] = {
    "levels": lambda data: data.values.levels or num_categories(data),
    "num_tokens": num_categories,
    "columns": column_likelihoods,
    "category_counts": category_counts,
}


# --- sizes ----------------------------------------------------------------------------------


def size_parameters(arguments: Iterable[str]) -> dict[str, FromData]:
    """Return ``SIZES``, and for each argument NAME of a model ``num_NAME``, its number of categories."""

    def num_levels_of(name: str) -> FromData:
        return lambda data: data.train.num_levels(name)

    return SIZES | {f"num_{name}": num_levels_of(name) for name in arguments}


def size_arguments(model: type, data: DataSet) -> dict[str, Any]:
    """Return the sizes that the model's constructor takes.

    Raises:
        InputError: it requires one that the data do not have.
    """
    parameters, arguments = inspect.signature(model).parameters, data.train.arguments or ()
    sizes = size_parameters(argument.name for argument in arguments)
    values = {name: size(data) for name, size in sizes.items() if name in parameters}
    unknown = {name: parameters[name].default for name, value in values.items() if value is None}
    required, model_name = inspect.Parameter.empty, model.__name__
    if unknown.get("levels") is required:
        raise InputError(
            f"{model_name} requires values on levels, and {data.name} has {data.values}",
            subject=data.name,
            expected="values on levels",
            remedy="leave --standardize out, or pass --binarize threshold",
        )
    for argument in arguments:
        if unknown.get(f"num_{argument.name}", 0) in (None, required):
            names = ", ".join(column.name for column in data.train.columns_of(argument) or ())
            raise InputError(
                f"{model_name} requires the number of categories of its argument {argument.name!r}",
                subject=argument.name,
                expected="a categorical column",
                remedy=f"pass --kinds {names}=category",
            )
    if unknown.get("num_classes", 0) in (None, required):
        raise InputError(
            f"{model_name} requires labels, and {data.name} has none",
            subject=data.name,
            remedy="name their column or array with --label, or make a folder of images for each class",
        )
    return {name: value for name, value in values.items() if value is not None}


# --- options --------------------------------------------------------------------------------


def is_from_pyro_vae(kind: Any) -> bool:
    return bool(kind.__module__.split(".")[0] == "pyro_vae")


def inferred_names(model: type) -> set[str]:
    """Return the model's own options that have no default on the command line: the data set them."""
    names = INFERRED.keys() - SIZES.keys()
    names = names | {"likelihood"} if is_from_pyro_vae(model) else names - {"columns"}
    return names & inspect.signature(model).parameters.keys()


def infer_options(
    model: type, options: PartConfig, given: Mapping[str, Any], data: DataSet
) -> tuple[PartConfig, dict[str, Any]]:
    """Return a model's options, completed from the data, and those that were inferred, by name.

    Args:
        model: its class.
        options: all its options.
        given: those that the user gave, which stay.
        data: the data to fit.

    Raises:
        InputError: the model requires an option that the data do not determine.
    """
    parts = suitable_parts(model, given, data)
    options, inferred = _infer(model, {**options, **parts}, {**given, **parts}, data, SIZES.keys())
    parameters = inspect.signature(model).parameters
    for name in inferred_names(model):
        if options.get(name) is None:
            options[name] = parameters[name].default
        if options[name] is inspect.Parameter.empty:
            raise InputError(
                f"{model.__name__} requires {name}, and {data.name}, with {data.values}, does not "
                "determine it",
                subject=name,
                remedy=f"pass --model.{name}",
            )
    return options, parts | inferred


def _infer(
    kind: type,
    options: PartConfig,
    given: PartConfig,
    data: DataSet,
    excluded: Set[str] = frozenset(),
) -> tuple[PartConfig, dict[str, Any]]:
    """Complete the options of a class, and of the parts among them."""
    # "columns" may mean anything in a user's class
    names = INFERRED.keys() if is_from_pyro_vae(kind) else INFERRED.keys() - {"columns"}
    wanted = names & inspect.signature(kind).parameters.keys() - given.keys() - excluded
    inferred = {n: value for n in sorted(wanted) if (value := INFERRED[n](data)) is not None}
    options = {**options, **inferred}
    for name, value in options.items():
        if name not in inferred:
            options[name], within = _infer_part(value, given.get(name), data)
            inferred |= {f"{name}.{inner}": of_inner for inner, of_inner in within.items()}
    return options, inferred


def _infer_part(value: Any, given: Any, data: DataSet) -> tuple[Any, dict[str, Any]]:
    if isinstance(value, list):
        is_alike = isinstance(given, list) and len(given) == len(value)
        of_each = zip(value, given if is_alike else [None] * len(value), strict=True)
        parts = [_infer_part(*pair, data) for pair in of_each]
        inferred = {f"{i}.{n}": v for i, (_, part) in enumerate(parts) for n, v in part.items()}
        return [part for part, _ in parts], inferred
    if not isinstance(value, Mapping) or "class_path" not in value:
        return value, {}
    given = given if isinstance(given, Mapping) else {}
    options, given = dict(value.get("init_args", {})), dict(given.get("init_args", {}))
    options, inferred = _infer(_class_of(dict(value)), options, given, data)
    return {**value, "init_args": options}, inferred


# --- parts ----------------------------------------------------------------------------------


def suitable_parts(model: type, given: Mapping[str, Any], data: DataSet) -> PartConfig:
    """Return the parts that suit the data, for a model of pyro_vae, where none is given.

    Images get convolutions, unless one of the networks is given. Where values are missing, the likelihood
    and the encoder get wrappers that skip them.
    """
    if not is_from_pyro_vae(model):
        return {}
    parameters, parts = inspect.signature(model).parameters, {}
    if "likelihood" in parameters and given.get("likelihood") is None:
        parts["likelihood"] = likelihood_for(data)
    likelihood = given.get("likelihood") or parts.get("likelihood") or {}
    # a user's likelihood may need other networks
    is_known = str(likelihood.get("class_path", "")).startswith("pyro_vae.")
    networks = {"encoder", "decoder"}
    if (
        is_known
        and networks <= parameters.keys()
        and not networks & given.keys()
        and is_image(data)
    ):
        parts |= CONVOLUTIONS
    if is_known and {"likelihood", "encoder"} <= parameters.keys() and data.num_missing:
        readers = {"encoder", "classifier"} & parameters.keys()
        reading = {n: {**given, **parts}.get(n) or _default(parameters[n]) for n in readers}
        parts |= _skip_missing(likelihood, reading)
    return parts


def _skip_missing(likelihood: PartConfig, networks: Mapping[str, PartConfig]) -> PartConfig:
    """Wrap the likelihood, and the networks that read data, unless they skip missing values already."""
    parts = {}
    if not issubclass(_class_of(likelihood), Missing):
        parts["likelihood"] = _wrapped(Missing, likelihood=likelihood)
    for name, network in networks.items():
        if not getattr(_class_of(network), "takes_missing", False):
            parts[name] = _wrapped(MaskedInput, network=network)
    return parts


def _wrapped(kind: type, **part: PartConfig) -> PartConfig:
    return {"class_path": path_of(kind), "init_args": part}


def _default(parameter: inspect.Parameter) -> PartConfig:
    return {"class_path": path_of(parameter.default), "init_args": {}}


def _class_of(config: PartConfig) -> type:
    module, _, name = config["class_path"].rpartition(".")
    found: type = getattr(importlib.import_module(module), name)
    return found


def is_image(data: DataSet) -> bool:
    """Return whether data are images (channels, height, width), large enough for convolutions."""
    return len(data.event_shape) == 3 and min(data.event_shape[1:]) >= MIN_IMAGE_SIZE


# --- in words -------------------------------------------------------------------------------


def describe(inferred: Mapping[str, Any], data: DataSet) -> str:
    """Return one sentence with the options that were inferred, and why."""
    whole = {
        name: value for name, value in inferred.items() if name.partition(".")[0] not in inferred
    }
    whole |= {name: value for name, value in inferred.items() if "." not in name}
    options = ", ".join(f"{name}: {_short(value)}" for name, value in whole.items())
    return f"{options}, as the data are {_description(data)}"


def _description(data: DataSet) -> str:
    missing = f"; {data.num_missing:,} values are missing" if data.num_missing else ""
    columns = data.train.columns_of(data.train.main_argument) or ()
    kinds = {str(column.kind) for column in columns}
    if len(kinds) == 1:
        return f"columns of {kinds.pop()}{missing}"
    if kinds:
        return f"columns of several kinds (`pyro-vae data` shows each){missing}"
    return f"{'images of ' * is_image(data)}{data.values}{missing}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "one for each column"
    if not isinstance(value, Mapping):
        return str(value)
    parts = value.get("init_args", {}).values()
    inner = ", ".join(_short(part) for part in parts if isinstance(part, Mapping))
    return display({"class_path": value["class_path"]}) + (f"({inner})" if inner else "")
