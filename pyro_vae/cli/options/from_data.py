"""What the data fill in of a model's options that a person leaves open: parts and numbers that suit."""

import importlib
import inspect
from collections.abc import Callable, Mapping, Set
from typing import Any

from pyro_vae.cli.options.likelihood import Config, likelihood_for, likelihood_of, named
from pyro_vae.cli.options.model import FILLED, path_of
from pyro_vae.data import DataSet
from pyro_vae.errors import InputError
from pyro_vae.likelihoods import Missing
from pyro_vae.networks import MaskedInput

SMALLEST_IMAGE = 8  # height and width, of which three halvings leave one
CONVOLUTIONS: Config = {
    "encoder": {"class_path": "pyro_vae.networks.ConvEncoder", "init_args": {}},
    "decoder": {"class_path": "pyro_vae.networks.ConvDecoder", "init_args": {}},
}


def num_names(data: DataSet) -> int | None:
    """How many names there are in data that are names by number, 0, 1, ...; None where they are none."""
    values = data.values
    if values.levels == 2:
        return 2
    is_names = values.levels is None and values.is_whole and values.low >= 0
    return max(2, int(values.high) + 1) if is_names else None


def columns_of(data: DataSet) -> list[Config] | None:
    """A likelihood for each column of a table, or of the argument x."""
    columns = data.train.columns_of(data.train.main_argument)
    return None if columns is None else [likelihood_of(column) for column in columns]


# of a parameter by its name, in a model and its parts at whatever depth, what the data say: a value, which
# may be a configuration, or None
KNOWN: dict[str, Callable[[DataSet], Any]] = {
    "levels": lambda data: data.values.levels or num_names(data),
    "num_tokens": num_names,
    "columns": columns_of,
}


def open_names(model: type) -> set[str]:
    """Which of a model's own options have no default, as the data are to say it."""
    filled = KNOWN.keys() - FILLED.keys()
    filled = filled | {"likelihood"} if is_ours(model) else filled - {"columns"}
    return filled & inspect.signature(model).parameters.keys()


def is_ours(kind: Any) -> bool:
    return bool(kind.__module__.split(".")[0] == "pyro_vae")


def filled_in(
    model: type, options: Config, given: Mapping[str, Any], data: DataSet
) -> tuple[Config, dict[str, Any]]:
    """A model's options with what the data say of those that are not ``given``.

    Returns, too, what was filled in, by the option's name.

    :raises InputError: the model must be told what the data do not say.
    """
    parts = chosen_parts(model, given, data)
    options, said = _filled(model, {**options, **parts}, {**given, **parts}, data, FILLED.keys())
    parameters = inspect.signature(model).parameters
    for name in open_names(model):
        if options.get(name) is None:
            options[name] = parameters[name].default
        if options[name] is inspect.Parameter.empty:
            raise InputError(
                f"{model.__name__} needs {name}, of which {data.name}, with {data.values}, says nothing: "
                f"set --model.{name}"
            )
    return options, parts | said


def _filled(
    kind: type, options: Config, given: Config, data: DataSet, but: Set[str] = frozenset()
) -> tuple[Config, dict[str, Any]]:
    """The options of a class, and of the parts among them."""
    known = KNOWN.keys() if is_ours(kind) else KNOWN.keys() - {"columns"}  # where these may be any
    wanted = known & inspect.signature(kind).parameters.keys() - given.keys() - but
    said = {name: value for name in sorted(wanted) if (value := KNOWN[name](data)) is not None}
    options = {**options, **said}
    for name, value in options.items():
        if name not in said:
            options[name], within = _filled_part(value, given.get(name), data)
            said |= {f"{name}.{inner}": of_inner for inner, of_inner in within.items()}
    return options, said


def _filled_part(value: Any, given: Any, data: DataSet) -> tuple[Any, dict[str, Any]]:
    if isinstance(value, list):
        known = (
            given if isinstance(given, list) and len(given) == len(value) else [None] * len(value)
        )
        found = [_filled_part(*pair, data) for pair in zip(value, known, strict=True)]
        said = {f"{i}.{n}": v for i, (_, within) in enumerate(found) for n, v in within.items()}
        return [part for part, _ in found], said
    if not isinstance(value, Mapping) or "class_path" not in value:
        return value, {}
    given = given if isinstance(given, Mapping) else {}
    kind = _class_of(dict(value))
    options, given = value.get("init_args", {}), given.get("init_args", {})
    options, said = _filled(kind, dict(options), dict(given), data)
    return {**value, "init_args": options}, said


# --- the parts that suit the data -----------------------------------------------------------


def chosen_parts(model: type, given: Mapping[str, Any], data: DataSet) -> Config:
    """The parts that are chosen for one of our models by what the data are.

    Images have convolutions, unless one of the networks is named. Where values are missing, the likelihood
    and the encoder leave these out.
    """
    if not is_ours(model):
        return {}
    parameters, found = inspect.signature(model).parameters, {}
    if "likelihood" in parameters and given.get("likelihood") is None:
        found["likelihood"] = likelihood_for(data)
    likelihood = given.get("likelihood") or found.get("likelihood") or {}
    networks = {"encoder", "decoder"}
    suits = str(likelihood.get("class_path", "")).startswith(
        "pyro_vae."
    )  # one's own may want others
    if networks <= parameters.keys() and not networks & given.keys() and suits and is_image(data):
        found |= CONVOLUTIONS
    if {"likelihood", "encoder"} <= parameters.keys() and suits and data.num_missing:
        readers = {"encoder", "classifier"} & parameters.keys()
        reading = {n: {**given, **found}.get(n) or _default(parameters[n]) for n in readers}
        found |= _leaving_gaps_out(likelihood, reading)
    return found


def _leaving_gaps_out(likelihood: Config, networks: Mapping[str, Config]) -> Config:
    """Parts around a likelihood, and networks that read data, that leave out values that are missing."""
    found = {}
    if not issubclass(_class_of(likelihood), Missing):
        found["likelihood"] = _around(Missing, likelihood=likelihood)
    for name, network in networks.items():
        if not getattr(_class_of(network), "takes_missing", False):
            found[name] = _around(MaskedInput, network=network)
    return found


def _around(kind: type, **part: Config) -> Config:
    return {"class_path": path_of(kind), "init_args": part}


def _default(parameter: inspect.Parameter) -> Config:
    return {"class_path": path_of(parameter.default), "init_args": {}}


def _class_of(config: Config) -> type:
    module, _, name = config["class_path"].rpartition(".")
    found: type = getattr(importlib.import_module(module), name)
    return found


def is_image(data: DataSet) -> bool:
    """Whether data are images of a size that convolutions are worth: (channels, height, width)."""
    return len(data.event_shape) == 3 and min(data.event_shape[1:]) >= SMALLEST_IMAGE


def in_words(said: Mapping[str, Any], data: DataSet) -> str:
    """One sentence on what was filled in, and why."""
    whole = {name: value for name, value in said.items() if name.partition(".")[0] not in said}
    whole |= {name: value for name, value in said.items() if "." not in name}
    found = ", ".join(f"{name}: {_short(value)}" for name, value in whole.items())
    return f"{found}, as the data are {_kind_in_words(data)}"


def _kind_in_words(data: DataSet) -> str:
    gaps = f" of which {data.num_missing:,} values are missing" if data.num_missing else ""
    columns = data.train.columns_of(data.train.main_argument) or ()
    kinds = {str(column.kind) for column in columns}
    if kinds:
        words = kinds.pop() if len(kinds) == 1 else "several kinds (`pyro-vae data` shows each)"
        return f"columns of {words}{gaps}"
    return f"{'images of ' * is_image(data)}{data.values}{gaps}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "one for each column"
    if not isinstance(value, Mapping):
        return str(value)
    within = [
        _short(part) for part in value.get("init_args", {}).values() if isinstance(part, Mapping)
    ]
    return named({"class_path": value["class_path"]}) + (f"({', '.join(within)})" if within else "")
