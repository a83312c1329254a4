"""What a run is asked to do: the options of data, model and fit, all resolved; from YAML and back."""

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

import pyro_vae
from pyro_vae.allocations import Allocations
from pyro_vae.cli.options.data import add_data_options, columns_by_argument, load_by
from pyro_vae.cli.options.from_data import filled_in, in_words, is_ours, open_names
from pyro_vae.cli.options.model import (
    check_labels_are_seen,
    check_takes_arguments,
    check_takes_labels,
    filled,
    fillers,
    find_class,
    path_of,
)
from pyro_vae.cli.options.parser import MANY, new_parser, read, take_options
from pyro_vae.data import DataSet
from pyro_vae.errors import InputError
from pyro_vae.inference.svi.fit import fit
from pyro_vae.program.contract import as_program

DESCRIPTION = """\
Fits a model to data by stochastic variational inference, and leaves in OUT: the resolved
configuration, the metrics as they went, a checkpoint, and a picture of the learning curve."""
EXAMPLES = (
    "pyro-vae fit --model VAE --data digits --epochs 50 --out runs/vae --seed 0",
    "pyro-vae fit --model VAE --model.latent_dim 2 --data table.csv --out runs/table",
    "pyro-vae fit --model my_model.MyVAE --data digits --out runs/mine",
    "pyro-vae fit --model my_model.Visits --data people.csv --arguments x=age,income y=visits",
    "pyro-vae fit --config runs/vae/config.yaml --optimizer.lr 3e-4 --out runs/slower",
    "pyro-vae fit --resume runs/vae --epochs 100",
    "pyro-vae fit --model VAE --help              with the model's own options",
    "pyro-vae fit --model VAE --model.encoder.help ConvEncoder    with a part's",
)
MODEL = "--model CLASS  one that `pyro-vae models` lists, or MODULE.CLASS, from here or installed"
NOT_OPTIONS: set[str | int] = {
    "program",
    "data",
    "validation",
    "device",
    "out",
    "resume",
    "record",
    "progress",
    "args",
    "kwargs",
}
# of the parameters, while they are fitted: they, their gradient, two that Adam keeps, the best so far; and
# all of these but the gradient, twice, while a checkpoint is written
COPIES = 13
SMALLER = "smaller networks, fewer latents or smaller images take less"
HOME = "working_directory"  # where a run's relative paths start
RUN_OPTIONS = ("config", "out", "resume", HOME)  # where things are, not what is done


def fit_parser(model: type | None, arguments: Sequence[str] = ()) -> ArgumentParser:
    """The options of a fit; those of the model's constructor, when it is known, among them.

    :param arguments: names of the model's arguments, of which the data fill in constructor's parameters.
    """
    parser = new_parser("fit", DESCRIPTION, EXAMPLES)
    add = parser.add_argument_group("the run").add_argument
    add("-o", "--out", type=str | None, help="the run's folder; by default runs/MODEL-DATA")
    add("--config", action="config", help="a YAML file of options, as a run leaves it")
    add("--resume", type=str | None, metavar="RUN", help="go on with the run in that folder")
    add("--device", type=str, default="auto", help="cpu, cuda, cuda:1, ...")
    add_data_options(parser)
    add = parser.add_argument_group("the data").add_argument
    add("--labelled", type=int | None, help="keep the labels of so many training rows, at random; "
        "the others are -1, not seen")  # fmt: skip
    parser.add_function_arguments(fit, as_group=True, skip=NOT_OPTIONS)
    parser.set_defaults(optimizer="torch.optim.Adam")
    group = parser.add_argument_group("the model", MODEL)
    if model is not None:
        open_ones, parameters = open_names(model), inspect.signature(model).parameters
        needed = {n for n in open_ones if parameters[n].default is inspect.Parameter.empty}
        group.add_class_arguments(
            model, "model", as_group=False, skip={*fillers(arguments), *needed}, fail_untyped=False
        )
        for name in needed:
            group.add_argument(f"--model.{name}", type=int | None, help="by default of the data")
        parser.set_defaults({f"model.{name}": None for name in open_ones})  # once these are known
    return parser


@dataclass(frozen=True)
class Experiment:
    """A model's class, and a value for every option of ``parser``; relative paths start at ``home``.

    ``given`` are the model's options that a person or a file has said.
    """

    model: type
    options: Namespace
    given: Mapping[str, Any]
    parser: ArgumentParser
    home: Path = field(default_factory=Path.cwd)

    @classmethod
    def read(cls, words: Sequence[str], config: Mapping[str, Any] | None = None) -> "Experiment":
        """What a command line asks for, on top of a configuration.

        :raises InputError: no model, an unknown one, or options that it does not take.
        """
        home = (config or {}).get(HOME)
        config = {k: _as_words(k, v) for k, v in (config or {}).items() if k not in RUN_OPTIONS}
        given = config.pop("model", None) or {}
        given = {"class_path": given} if isinstance(given, str) else given
        if not isinstance(given, Mapping) or not isinstance(given.get("init_args", {}), Mapping):
            raise InputError("the configuration's `model` must hold class_path and init_args")
        named, words = take_options(words, "--model".__eq__)
        if "--help" in words or "-h" in words:
            fit_parser(find_class(named[-1][1]) if named else None).parse_args(["--help"])
        name = named[-1][1] if named else given.get("class_path")
        if name is None:
            raise InputError("which model? --model VAE, or MODULE.CLASS for one of your own")
        model = find_class(name)
        arguments = given.get("init_args", {})
        if arguments and find_class(given["class_path"]) is model:
            config["model"] = arguments
        parser = fit_parser(model, _arguments(words, config))
        options = read(parser, words, config)
        is_stated = any(word.partition("=")[0] == "--data" for word in words)
        begun = Path(home) if isinstance(home, str) and not is_stated else Path.cwd()
        stated, _ = take_options(words, lambda name: name.startswith("--model."))
        said = [word for pair in stated for word in pair]
        told = read(parser, said, {"model": config.get("model", {})}, defaults=False)
        return cls(model, options, told.get("model", Namespace()).as_dict(), parser, begun)

    def to_dict(self) -> dict[str, Any]:
        """Every option that says what is done, as YAML takes it; :meth:`read` reads it."""
        text = self.parser.dump(self.options, format="json", skip_unset=False)
        options = json.loads(text)
        model = {"class_path": path_of(self.model), "init_args": options.pop("model", {})}
        return {"model": model, **{k: v for k, v in options.items() if k not in RUN_OPTIONS}}

    def to_yaml(self) -> str:
        head = f"# pyro-vae {pyro_vae.__version__}; `pyro-vae fit --config` reads this file\n"
        options = self.to_dict() | {HOME: str(self.home)}
        return head + yaml.safe_dump(options, sort_keys=False, allow_unicode=True)

    def load_data(self, missing: bool = True) -> DataSet:
        """The data. Values may be ``missing``: whether the model reads those is seen once it is built."""
        options = self.options
        if options.labelled is not None:
            check_takes_labels(self.model)
        if options.data is None:
            raise InputError("which data? --data digits, another of `pyro-vae data`, or a path")
        data = load_by(options, missing=missing, home=self.home)
        if options.labelled is None:
            return data
        return data.with_labels_of(options.labelled, options.data_seed)

    def suited_to(self, data: DataSet) -> tuple["Experiment", str | None]:
        """The same with what the data say of the model's options that are not given; and that in words."""
        config = self.to_dict()
        arguments = config["model"]["init_args"]
        config["model"], said = filled_in(self.model, arguments, self.given, data)
        suited = replace(self, options=read(self.parser, [], config), given=config["model"])
        return suited, in_words(said, data) if said else None

    def build(self, data: DataSet) -> Any:
        """The model, untrained: the same one at each call.

        :raises InputError: its constructor raises, or what it makes is no program.
        """
        check_takes_arguments(self.model, data)
        check_labels_are_seen(self.model, data)
        arguments = dict(vars(self._instantiated().get("model", Namespace())))
        known = filled(self.model, data)
        if arguments.get("condition") is not None:  # it reads the labels in its own way
            known.pop("num_classes", None)
        arguments |= known
        if is_ours(self.model):
            self._weigh(arguments)
        pyro.set_rng_seed(self.options.seed)
        try:
            with self._allocations():
                model = self.model(**arguments)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{self.model.__name__} cannot be made of these options: "
                f"{type(error).__name__}: {str(error).strip().split(chr(10))[0]}"
            ) from error
        as_program(model)
        return model

    def _allocations(self) -> Allocations:
        return Allocations(f"fitting {self.model.__name__}", COPIES, SMALLER)

    def _weigh(self, arguments: Mapping[str, Any]) -> None:
        """:raises InputError: a model of these options takes more memory than there is; none is taken."""
        try:
            with self._allocations(), torch.device("meta"):
                self.model(**arguments)
        except InputError:
            raise
        except Exception:  # what needs the values of its tensors is weighed while it is made
            return

    def fit_options(self) -> dict[str, Any]:
        """What :func:`pyro_vae.fit` takes beside the program and the data."""
        made = self._instantiated()
        names = set(inspect.signature(fit).parameters) - NOT_OPTIONS
        return {"device": self.options.device, **{name: made[name] for name in names}}

    def _instantiated(self) -> Namespace:
        """The options with the classes that they name made.

        :raises InputError: one of them does not take its options, in its own words.
        """
        try:
            return self.parser.instantiate(self.options)
        except ValueError as error:
            cause: BaseException | None = error  # the parser wraps what a class says
            while cause is not None and not isinstance(cause, InputError):
                cause = cause.__cause__
            raise cause or error from error


def _arguments(words: Sequence[str], config: Mapping[str, Any]) -> list[str]:
    """The names that ``--arguments`` is going to have."""
    given, _ = take_options(words, "--arguments".__eq__)
    if given:
        return list(columns_by_argument(given[-1][1:]) or ())
    return list(columns_by_argument(config.get("arguments")) or ())


def _as_words(name: str, value: Any) -> Any:
    """A configuration's value of an option, as a list of words where it takes one value or more.

    :raises InputError: it is no list of words or numbers.
    """
    if f"--{name}" not in MANY or value is None:
        return value
    if not isinstance(value, list) or not all(isinstance(v, str | int | float) for v in value):
        raise InputError(f"the configuration's `{name}` must be a list of words, as in [a, b]")
    return [str(word) for word in value]
