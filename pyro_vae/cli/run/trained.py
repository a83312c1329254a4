"""The trained model of a run with data, and the options that all verbs on a run share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor

from pyro_vae.cli.options.parser import new_parser, parse, take_options
from pyro_vae.cli.output.console import note
from pyro_vae.cli.run.folder import RunFolder, open_run
from pyro_vae.cli.run.model_inputs import check_reads_missing_in_new_rows, rows_of
from pyro_vae.cli.run.predictions import Prediction, observed_arguments
from pyro_vae.cli.run.trust import CLASS_OPTIONS
from pyro_vae.data import Argument, BlankDataSet, Column, DataSet, Split
from pyro_vae.data.columns.arguments import order_arguments
from pyro_vae.device import resolve
from pyro_vae.errors import InputError, unknown
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.program.contract import signature

OUTPUTS = ("out", "plot", "report", "strangest")  # options that name files to write
SplitName = Literal["train", "validation", "test"]
OWN_CODE = """\
--model MODULE.CLASS  your own class, if the run's model is one: code outside
                      pyro_vae, torch and Pyro runs only if you name it
--model.PART MODULE.CLASS
                      likewise for a part of the model; also --optimizer,
                      --lr_schedule, --elbo"""


def run_parser(
    verb: str,
    description: str,
    examples: Sequence[str],
    split: SplitName | None = "test",
    takes_several: bool = False,
) -> ArgumentParser:
    """Return a parser with the options of every verb on a run.

    Args:
        verb: of the command line.
        description: of the verb.
        examples: of commands.
        split: the rows that it takes by default; None for all.
        takes_several: whether it takes the folders of several runs, as ``run``.
    """
    parser = new_parser(verb, description, examples)
    if takes_several:
        parser.add_argument("run", type=str, nargs="*", help="the folders of the runs")
    else:
        parser.add_argument("run", type=str | None, nargs="?", help="the folder of the run")
    parser.add_argument("--split", type=SplitName | None, help="which rows of the run's data: train, "
        f"validation or test; by default {split or 'all'}")  # fmt: skip
    parser.add_argument("--data", type=str | None, help="other data, all rows of them, instead of "
        "the run's own")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of all draws")
    parser.add_argument("--device", type=str, default="auto", help="cpu, cuda, cuda:1, ...")
    parser.add_argument_group("your own code", OWN_CODE)
    return parser


@dataclass(frozen=True)
class TrainedModel:
    """Hold a trained model and guide, and the data to use them on.

    Attributes:
        program: the model and guide.
        data: the data of the run.
        split: the rows to use, of these data or of others.
        device: where the program is.
        seed: seed of all draws.
        label: the file's name for the column of class labels.
    """

    program: Any
    data: DataSet
    split: Split
    device: torch.device
    seed: int
    label: str | None = None

    def rows(self, index: Tensor) -> tuple[Tensor, ...]:
        """Return the split's rows numbered ``index``, as the program takes them."""
        return next(rows_of(self.program, self.split, self.device, index))

    @property
    def rows_to_compare(self) -> Split | None:
        """The rows to compare draws with: the training rows if they are there, otherwise new ones."""
        if not isinstance(self.data, BlankDataSet):
            return self.data.train
        return None if self.split is self.data.test else self.split

    def random_rows(self, count: int) -> Tensor:
        """Return the numbers of ``count`` rows, drawn at random: data are often sorted by class."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randperm(len(self.split), generator=generator)[:count]

    @cached_property
    def arguments(self) -> tuple[Argument, ...]:
        """The arguments that take columns by name, in the program's order; none if x takes all columns."""
        arguments = self.split.arguments
        return () if arguments is None else order_arguments(arguments, signature(self.program))

    def argument_of(self, prediction: Prediction) -> Argument | None:
        """Return the argument that a site observes."""
        place = prediction.argument
        return self.arguments[place] if self.arguments and place is not None else None

    def columns_of(self, prediction: Prediction) -> tuple[Column, ...] | None:
        """Return the columns of the table that a site models."""
        return self.split.columns_of(self.argument_of(prediction))

    def is_observed(self) -> Tensor:
        """Return 1 for each column whose density the model gives, 0 for the others; 1 if x takes all."""
        if not self.arguments:
            return torch.ones(())
        columns = torch.zeros(self.split.event_shape)
        for place in observed_arguments(self.program, *self.rows(torch.arange(1))).values():
            if not self.arguments[place].is_category:  # categories have no units
                columns[list(self.arguments[place].places)] = 1.0
        return columns

    def in_data_units(self, predictions: Mapping[str, Prediction]) -> dict[str, Prediction]:
        """Return the predictions with the standardisation undone at the sites that model data."""
        return {name: self._in_data_units(p) for name, p in predictions.items()}

    def _in_data_units(self, p: Prediction) -> Prediction:
        argument = self.argument_of(p)
        encoding = self.split.encoding if argument is None else self.split.input(argument).encoding
        if encoding is None or not self._models_data(p):
            return p
        return replace(p, value=encoding.invert(p.value), mean=encoding.invert(p.mean))

    def of_data(self, predictions: Mapping[str, Prediction]) -> Prediction:
        """Return the prediction of the first site that models data, or of the first site."""
        data = [p for p in predictions.values() if self._models_data(p)]
        return (data or list(predictions.values()))[0]

    def _models_data(self, prediction: Prediction) -> bool:
        """Return whether a site observes an argument, or has the shape of the data if x takes all."""
        if self.arguments:
            argument = self.argument_of(prediction)
            return argument is not None and prediction.value.shape[1:] == argument.shape
        return prediction.value.shape[1:] == self.data.event_shape


def read_options(parser: ArgumentParser, words: Sequence[str]) -> Namespace:
    """Return the verb's options, and as ``own_code`` the options that name classes of the run.

    Raises:
        InputError: an option is unknown or wrong, or there is no run.
    """
    own_code, words = take_options(words, lambda name: name[2:].split(".")[0] in CLASS_OPTIONS)
    options = parse(parser, words)
    check_has_run(parser, options)
    if options.split is not None and options.data is not None:
        raise InputError(
            "--split is a part of the run's own data, and --data names others",
            subject="--split",
            remedy="leave --split out to use all rows of --data",
        )
    options.own_code = [word for pair in own_code for word in pair]
    return options


def check_has_run(parser: ArgumentParser, options: Namespace) -> None:
    """Check that the options name a run.

    Raises:
        InputError: they name none.
    """
    if not options.run:
        verb = parser.prog.split()[-1]
        remedy = f"name its folder, as in pyro-vae {verb} runs/vae"
        raise InputError("there is no run to use", subject="run", remedy=remedy)


def open_trained(options: Namespace, rows_required: bool = True) -> TrainedModel:
    """Return the model of the run that the options name, with its data.

    Args:
        options: those of :func:`read_options`.
        rows_required: whether the verb requires rows, or can do with the facts in the checkpoint.
    """
    device = resolve(options.device)
    run = open_run(options.run, options.own_code)
    run_options = run.config.options
    _check_overwrites_no_data(options, run_options.data)
    if options.data is not None:
        data, rows = run.remembered_data(), run.new_data(options.data)
    else:
        # if columns go by name, draws are given the values of the columns that are not drawn
        data = _own_data(run, rows_required or run_options.arguments is not None)
        split = options.split or "test"
        if split not in data.splits:
            raise unknown(f"{data.name} has no {split} rows", split, data.splits, subject="--split")
        rows = data.splits[split]
    program = run.load_program(data, device)
    if options.data is not None:
        check_reads_missing_in_new_rows(program, rows, options.data, device, options.seed)
    return TrainedModel(program, data, rows, device, options.seed, run_options.label)


def _check_overwrites_no_data(options: Namespace, *data: str | None) -> None:
    """Check that no output, with --overwrite, would replace the data.

    Raises:
        InputError: one would.
    """
    read = [str(name) for name in (*data, options.data, options.get("reference")) if name]
    for option in OUTPUTS:
        path = options.get(option)
        if path is None or not Path(path).exists():
            continue
        if any(Path(name).exists() and Path(path).samefile(name) for name in read):
            raise InputError(
                f"--{option} {path} would replace the data",
                subject=f"--{option}",
                remedy="name another file",
            )


def _own_data(run: RunFolder, rows_required: bool) -> DataSet:
    try:
        return run.load_data()
    except InputError as error:
        if rows_required:
            raise InputError(
                error.problem,
                subject=error.subject,
                expected=error.expected,
                remedy="name other data with --data",
            ) from error
        note(f"continuing without the run's data: {error}")
        return run.remembered_data()


def joint_note(evidence: Evidence, trained: TrainedModel) -> tuple[str, ...]:
    """Return a note on a joint figure of rows that the guide was not fitted to."""
    if evidence.unit is not None or evidence.simulated or trained.split is trained.data.train:
        return ()
    return (
        "the guide approximates the posterior given the training rows, which share the latents; for other "
        "rows alone it is a poor proposal: --split train has the evidence that it was fitted to",
    )
