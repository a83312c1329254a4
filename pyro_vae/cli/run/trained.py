"""What every verb on a finished run shares: its options, and the run with its data and program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from pyro_vae.cli.options.parser import new_parser, read, take_options
from pyro_vae.cli.output.console import note
from pyro_vae.cli.run.folder import PARTS, RunFolder, open_run, rows_of
from pyro_vae.cli.run.missing_values import check_reads_new_gaps
from pyro_vae.data import Argument, Column, DataSet, Remembered, Split
from pyro_vae.data.arguments import in_order
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.program.contract import signature
from pyro_vae.program.predict import Prediction, observed_arguments

SplitName = Literal["train", "validation", "test"]


def run_parser(
    verb: str, description: str, examples: Sequence[str], split: SplitName | None = "test"
) -> ArgumentParser:
    """A parser with the run and what says how it is opened; a ``split`` of None is all data."""
    parser = new_parser(verb, description, examples)
    parser.add_argument("run", type=str | None, nargs="?", help="the run's folder")
    which = f"of the run's data; by default {split or 'all'}"
    parser.add_argument("--split", type=SplitName | None, help=which)
    parser.add_argument("--data", type=str | None, help="other data to look at, all rows of them; "
        "by default those that the run was fitted to")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of all draws")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, cuda:1, ...")
    parser.add_argument_group(
        "whose code may run",
        "--model MODULE.CLASS  the run's model, named again if it is a class of your own\n"
        "--model.PART MODULE.CLASS  likewise a part of it; --optimizer, --schedule, --elbo too",
    )
    return parser


@dataclass(frozen=True)
class TrainedModel:
    """A trained program, and the data to look at it with."""

    program: Any
    data: DataSet
    split: Split
    device: torch.device
    seed: int
    label: str | None = None  # what the file calls the column of the classes

    def rows(self, index: Tensor) -> tuple[Tensor, ...]:
        """The split's rows numbered ``index``, as the program takes them."""
        return next(rows_of(self.program, self.split, self.device, index))

    @property
    def rows_to_compare(self) -> Split | None:
        """Rows to hold draws against: those of training, or where these are not there, new ones."""
        if not isinstance(self.data, Remembered):
            return self.data.train
        return None if self.split is self.data.test else self.split

    def some_rows(self, count: int) -> Tensor:
        """The numbers of ``count`` rows, drawn by the seed; sets are often in order of class."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randperm(len(self.split), generator=generator)[:count]

    @cached_property
    def arguments(self) -> tuple[Argument, ...]:
        """The columns that the program is given, in its order; none where it is given all as one."""
        arguments = self.split.arguments
        return () if arguments is None else in_order(arguments, signature(self.program))

    def argument_of(self, prediction: Prediction) -> Argument | None:
        """The argument that a site observes."""
        place = prediction.argument
        return self.arguments[place] if self.arguments and place is not None else None

    def columns_of(self, prediction: Prediction) -> tuple[Column, ...] | None:
        """The columns of a table that a site stands for."""
        return self.split.columns_of(self.argument_of(prediction))

    def is_observed(self) -> Tensor:
        """By column of arguments 1 where the model gives a density of it, else 0; 1 without arguments."""
        if not self.arguments:
            return torch.ones(())
        columns = torch.zeros(self.split.event_shape)
        for place in observed_arguments(self.program, *self.rows(torch.arange(1))):
            if not self.arguments[place].is_category:  # which have no units
                columns[list(self.arguments[place].places)] = 1.0
        return columns

    def in_data_units(self, predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
        """Undoes the standardisation at the sites that stand for data."""
        return {name: self._in_data_units(p) for name, p in predictions.items()}

    def _in_data_units(self, p: Prediction) -> Prediction:
        argument = self.argument_of(p)
        encoding = self.split.encoding if argument is None else self.split.input(argument).encoding
        if encoding is None or not self._is_data(p):
            return p
        return replace(p, value=encoding.invert(p.value), mean=encoding.invert(p.mean))

    def of_data(self, predictions: Mapping[str, Prediction]) -> Prediction:
        """The prediction at the first site that stands for data, or else at the first."""
        found = [p for p in predictions.values() if self._is_data(p)]
        return (found or list(predictions.values()))[0]

    def _is_data(self, prediction: Prediction) -> bool:
        """Whether a site observes an argument, or, where there are none by name, has the data's shape."""
        if self.arguments:
            argument = self.argument_of(prediction)
            return argument is not None and prediction.value.shape[1:] == argument.shape
        return prediction.value.shape[1:] == self.data.event_shape


def read_options(parser: ArgumentParser, words: Sequence[str]) -> Namespace:
    """The verb's options, and as ``restated`` what the words say about the run's model.

    :raises InputError: an unknown or wrong option, or no run.
    """
    restated, words = take_options(words, lambda name: name[2:].split(".")[0] in PARTS)
    options = read(parser, words)
    if options.run is None:
        raise InputError("which run? Name its folder, as in pyro-vae evidence runs/vae")
    if options.split is not None and options.data is not None:
        raise InputError("--split is a part of the run's own data; of --data all rows are taken")
    options.restated = [word for pair in restated for word in pair]
    return options


def open_trained(options: Namespace, rows_needed: bool = True) -> TrainedModel:
    """The run that the options name, with the data to look at.

    :param rows_needed: whether there is nothing to do without any; else what the run knows will do.
    """
    device = resolve(options.device)
    run = open_run(options.run, options.restated)
    label = run.experiment.options.label
    if options.data is not None:
        data, rows = run.remembered_data(), run.new_data(options.data)
    else:
        # by name, draws are given the values of the columns that are not drawn
        by_name = run.experiment.options.arguments is not None
        data = _own_data(run, rows_needed or by_name)
        split = options.split or "test"
        if split not in data.splits:
            raise InputError(f"{data.name} has no {split} rows; it has {', '.join(data.splits)}")
        rows = data.splits[split]
    program = run.load_program(data, device)
    if options.data is not None:
        check_reads_new_gaps(program, rows, options.data, device, options.seed)
    return TrainedModel(program, data, rows, device, options.seed, label)


def _own_data(run: RunFolder, rows_needed: bool) -> DataSet:
    try:
        return run.load_data()
    except InputError as error:
        if rows_needed:
            raise InputError(f"{error}. Other data are named by --data") from error
        note(f"without the run's data: {error}")
        return run.remembered_data()
