"""The configuration of a fit: all options of data, model and fit, with their values; from and to YAML."""

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyro
import torch
import yaml
from jsonargparse import ArgumentParser, Namespace

import pyro_vae.models  # on use: start-up does not wait for the shelf
from pyro_vae.allocations import Allocations
from pyro_vae.cli.options.data import columns_by_argument, load_data
from pyro_vae.cli.options.fit import FIT_ARGUMENTS, fit_parser
from pyro_vae.cli.options.from_data import (
    describe,
    infer_options,
    is_from_pyro_vae,
    size_arguments,
)
from pyro_vae.cli.options.model import find_class, path_of
from pyro_vae.cli.options.parser import MULTI_VALUED, parse, take_options
from pyro_vae.cli.run.model_inputs import (
    check_labels_are_known,
    check_takes_arguments,
    check_takes_labels,
)
from pyro_vae.cli.run.table_defaults import length_for_table, model_for_table
from pyro_vae.data import DataSet, batches
from pyro_vae.errors import InputError, first_line
from pyro_vae.guides.model_facts import without_guide
from pyro_vae.inference.svi.fit import fit
from pyro_vae.inference.svi.made_guide import has_guide, made_from_rows, needs_guide
from pyro_vae.program.contract import as_program, signature
from pyro_vae.program.prior_guide import with_prior_as_guide

BASE = "working_directory"  # in a configuration: the folder where its relative paths start
PLACES = (
    "config",
    "out",
    "resume",
    "track",
    BASE,
)  # options that say where things go, not what is done
# the memory of a fit, in copies of the parameters: themselves, gradient, Adam's two moments, the best so
# far; and all but the gradient twice more while a checkpoint is written
COPIES = 13
LESS_MEMORY = "choose smaller networks, fewer latents or smaller images"


@dataclass(frozen=True)
class FitConfig:
    """Hold a model's class and a value for every option of a fit.

    Attributes:
        model: the class.
        options: the values.
        given: the model's options that the user or a file gave.
        parser: the parser of these options.
        base: the folder where relative paths start.
    """

    model: type
    options: Namespace
    given: Mapping[str, Any]
    parser: ArgumentParser
    base: Path = field(default_factory=Path.cwd)

    @classmethod
    def read(cls, words: Sequence[str], config: Mapping[str, Any] | None = None) -> "FitConfig":
        """Return the configuration of a command line, whose options override those of ``config``.

        Raises:
            InputError: there is no model, an unknown one, or an option that it does not have.
        """
        base = (config or {}).get(BASE)
        config = {k: _as_words(k, v) for k, v in (config or {}).items() if k not in PLACES}
        from_file = _model_of(config.pop("model", None))
        named, words = take_options(words, "--model".__eq__)
        if "--help" in words or "-h" in words:
            fit_parser(find_class(named[-1][1]) if named else None).parse_args(["--help"])
        name = named[-1][1] if named else from_file.get("class_path")
        model = find_class(name) if name else model_for_table(words, config)
        arguments = from_file.get("init_args", {})
        if arguments and find_class(from_file["class_path"]) is model:
            config["model"] = arguments
        chooses = config.get("optimizer") or any(w.startswith("--optimizer") for w in words)
        if config.get("optimizer") is None:  # options such as --optimizer.lr are then Adam's
            config.pop("optimizer", None)
        parser = fit_parser(model, _argument_names(words, config))
        options = parse(parser, words, config)
        if not chooses:
            options.optimizer = None  # fit has one that suits the data
        names_data = any(word.partition("=")[0] == "--data" for word in words)
        base = Path(base) if isinstance(base, str) and not names_data else Path.cwd()
        model_words, _ = take_options(words, lambda name: name.startswith("--model."))
        flat = [word for pair in model_words for word in pair]
        given = parse(parser, flat, {"model": config.get("model", {})}, defaults=False)
        return cls(model, options, given.get("model", Namespace()).as_dict(), parser, base)

    def to_dict(self) -> dict[str, Any]:
        """Return every option but the places; :meth:`read` reads it."""
        # which have been validated as they were parsed
        text = self.parser.dump(self.options, format="json", skip_unset=False, skip_validation=True)
        options = json.loads(text)
        model = {"class_path": path_of(self.model), "init_args": options.pop("model", {})}
        return {"model": model, **{k: v for k, v in options.items() if k not in PLACES}}

    def to_yaml(self) -> str:
        """Return the contents of a run's configuration file."""
        head = f"# pyro-vae {pyro_vae.__version__}; `pyro-vae fit --config` reads this file\n"
        options = self.to_dict() | {BASE: str(self.base)}
        return head + yaml.safe_dump(options, sort_keys=False, allow_unicode=True)

    def default_optimizer(self) -> dict[str, Any]:
        """Return class and options of the optimizer of a fit that names none; the fit chooses its rate."""
        options = self.options.clone()
        options.optimizer = self.parser.get_defaults().optimizer
        defaults: dict[str, Any] = replace(self, options=options).to_dict()["optimizer"]
        return defaults

    def load_data(self, missing: bool = True) -> DataSet:
        """Return the data; with ``missing``, values may be missing."""
        options = self.options
        if options.labelled is not None:
            check_takes_labels(self.model)
        if options.data is None:
            raise InputError("there are no data to fit to", subject="--data",
                remedy="pass --data with a path, or with a name that `pyro-vae data` lists")  # fmt: skip
        data = load_data(options, missing=missing, base=self.base)
        if options.labelled is None:
            return data
        return data.with_labels_of(options.labelled, options.data_seed)

    def completed(self, data: DataSet) -> tuple["FitConfig", str | None]:
        """Return the configuration with the model's open options set from the data, and a note on these."""
        config = self.to_dict()
        arguments = config["model"]["init_args"]
        config["model"], inferred = infer_options(self.model, arguments, self.given, data)
        if issubclass(self.model, pyro_vae.models.Table):
            config |= length_for_table(config, data)
        options = parse(self.parser, [], config)
        options.track = self.options.track  # which is no part of the configuration
        completed = replace(self, options=options, given=config["model"])
        return completed, describe(inferred, data) if inferred else None

    def build(self, data: DataSet) -> Any:
        """Return the untrained model, the same one at each call; with a guide, if it has none.

        Raises:
            InputError: its constructor raises, or what it makes is not a program.
        """
        check_takes_arguments(self.model, data)
        check_labels_are_known(self.model, data)
        arguments = dict(vars(self._instantiated().get("model", Namespace())))
        sizes = size_arguments(self.model, data)
        if arguments.get("condition") is not None:  # it reads the labels in its own way
            sizes.pop("num_classes", None)
        arguments |= sizes
        if is_from_pyro_vae(self.model):
            self._check_memory(arguments)
        pyro.set_rng_seed(self.options.seed)
        try:
            with self._limited_memory():
                model = self.model(**arguments)
        except InputError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {first_line(error)}"
            problem = f"{self.model.__name__} cannot be made with these options: {reason}"
            raise InputError(problem, subject=self.model.__name__) from error
        if not has_guide(model):
            if not needs_guide(self._instantiated().get("elbo")):
                return with_prior_as_guide(model, sums_out=False)
            target = without_guide(model)
            rows = batches(data.train, torch.device("cpu"), signature(target))
            return made_from_rows(target, rows, self.options.seed)
        as_program(model)
        return model

    def _limited_memory(self) -> Allocations:
        return Allocations(f"fitting {self.model.__name__}", COPIES, LESS_MEMORY)

    def _check_memory(self, arguments: Mapping[str, Any]) -> None:
        """Check that the model's parameters fit into memory, without making them."""
        try:
            with self._limited_memory(), torch.device("meta"):
                self.model(**arguments)
        except InputError:
            raise
        except Exception:  # it needs the values of its tensors: the limit holds while it is made
            return

    def fit_options(self) -> dict[str, Any]:
        """Return the arguments of :func:`pyro_vae.fit` that are options."""
        made = self._instantiated()
        names = set(inspect.signature(fit).parameters) - FIT_ARGUMENTS
        return {"device": self.options.device, **{name: made[name] for name in names}}

    def _instantiated(self) -> Namespace:
        """Return the options, with an object for each class that they name.

        Raises:
            InputError: a class rejects its options.
        """
        try:
            return self.parser.instantiate(self.options)
        except ValueError as error:
            cause: BaseException | None = error  # the parser wraps the error of the class
            while cause is not None and not isinstance(cause, InputError):
                cause = cause.__cause__
            raise cause or error from error


def _model_of(value: Any) -> Mapping[str, Any]:
    """Return class_path and init_args of the entry ``model`` of a configuration."""
    model = {"class_path": value} if isinstance(value, str) else value or {}
    if not isinstance(model, Mapping) or not isinstance(model.get("init_args", {}), Mapping):
        expected = "a mapping with class_path and init_args"
        raise InputError(
            "`model` in the configuration is not valid", subject="model", expected=expected
        )
    return model


def _argument_names(words: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """Return the names of the model's arguments in ``--arguments``."""
    given, _ = take_options(words, "--arguments".__eq__)
    return list(columns_by_argument(given[-1][1:] if given else config.get("arguments")) or ())


def _as_words(name: str, value: Any) -> Any:
    """Return the value of an option in a configuration, as words if it is multi-valued.

    Raises:
        InputError: such a value is not a list of words or numbers.
    """
    if f"--{name}" not in MULTI_VALUED or value is None:
        return value
    if not isinstance(value, list) or not all(isinstance(v, str | int | float) for v in value):
        problem = f"`{name}` in the configuration is not valid"
        raise InputError(problem, subject=name, expected="a list such as [a, b]")
    return [str(word) for word in value]
