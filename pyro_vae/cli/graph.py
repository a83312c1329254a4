"""``pyro-vae graph``: draw a model and its guide as one plate diagram."""

from argparse import BooleanOptionalAction
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pyro_vae.cli.options.data import DATA, add_data_options, load_data
from pyro_vae.cli.options.model import find_function
from pyro_vae.cli.options.parser import new_parser, parse, take_options
from pyro_vae.cli.output.console import note
from pyro_vae.cli.output.files import add_out, out_path
from pyro_vae.cli.run.config import FitConfig
from pyro_vae.cli.run.folder import RunFolder, open_run
from pyro_vae.cli.run.trust import CLASS_OPTIONS
from pyro_vae.data import DataSet, Split
from pyro_vae.errors import InputError
from pyro_vae.graph import render_model
from pyro_vae.graph.formats import FORMATS

DESCRIPTION = """\
Draw the model and the guide of a run, or of --model, as one plate diagram. A
model without a run is called on a few rows of --data, by default the digits;
only the shapes of the data matter."""
EXAMPLES = (
    "pyro-vae graph runs/vae",
    "pyro-vae graph --model VAE --model.latent_dim 2 --out vae.pdf",
    "pyro-vae graph --model my_model.model --data table.csv --text",
)
MODEL = """\
--model CLASS         with its options, as in `pyro-vae fit`
--model MODULE.NAME   your own class or function
--data DATA           the data to call it on, with --data_root, ..."""
DIAGRAMS = ("graph.svg", "graph.png")  # in the folder of a run

Drawable = tuple[Any, Split]  # a program, and the rows to call it on


def main(words: Sequence[str]) -> int:
    """Draw the model of a run, or of ``--model``."""
    fit_options = (*CLASS_OPTIONS, *DATA)
    fit_words, words = take_options(words, lambda name: name[2:].split(".")[0] in fit_options)
    endings = [f".{name}" for name in FORMATS]
    parser = new_parser("graph", DESCRIPTION, EXAMPLES)
    parser.add_argument("run", type=str | None, nargs="?", help="the folder of the run")
    add_out(parser, None, endings)
    parser.add_argument("--text", action="store_true", help="print the diagram as text; write a file "
        "only with --out")  # fmt: skip
    parser.add_argument("--model_only", action="store_true", help="draw no guide")
    parser.add_argument("--fold", action=BooleanOptionalAction, default=None, help="draw the steps of "
        "a loop only once, or all of them; by default a few of a long loop")  # fmt: skip
    parser.add_argument_group("the model, without a run", MODEL)
    options = parse(parser, words)
    if options.out is None and not options.text:
        options.out = "graph.svg"
    path = None if options.out is None else out_path(options, endings)
    program, rows = (
        drawable(open_run(options.run, _flat(fit_words))) if options.run else _of_model(fit_words)
    )
    if options.model_only:
        program = getattr(program, "model", program)
    graph = render_model(program, data=rows, fold=options.fold)
    if path is not None:
        graph.save(path)
        print(path)
    if options.text:
        print(graph.text)
    for warning in graph.warnings:
        note(warning)
    return 0


def save_graph(folder: Path, program: Any, data: DataSet) -> None:
    """Draw a program, called on a few rows of its data, into the folder of its run."""
    try:
        graph = render_model(program, data=data)
        for name in DIAGRAMS:
            graph.save(folder / name)
    except InputError as error:  # the fit is done, and does not fail for want of a picture
        note(f"no diagram: {error}")


def drawable(run: RunFolder) -> Drawable:
    """Return the model of a run, and rows to call it on: blank ones if the run's data are not there."""
    try:
        data = run.load_data()
    except InputError:  # only the shapes matter
        data = run.remembered_data()
        data = _with_rows(data, run.saved[1]["data"]["sizes"]["train"])
    return run.config.build(data), data.train


def _of_model(fit_words: list[tuple[str, ...]]) -> Drawable:
    values = {name: value for name, value, *_ in fit_words}
    if "--model" not in values:
        raise InputError("there is no model to draw", subject="--model",
            remedy="name the folder of a run, or --model VAE")  # fmt: skip
    if "--data" not in values:
        fit_words = [*fit_words, ("--data", "digits")]
    function = find_function(values["--model"])
    if function is not None:
        parser = new_parser("graph", DESCRIPTION, EXAMPLES)
        add_data_options(parser)
        data_words = _flat([pair for pair in fit_words if pair[0] != "--model"])
        data = load_data(parse(parser, data_words))
        return function, data.train
    config = FitConfig.read(_flat(fit_words))
    data = config.load_data()
    config, _ = config.completed(data)
    return config.build(data), data.train


def _with_rows(data: DataSet, count: int) -> DataSet:
    """Return a set of blank rows with so many training rows, which share their memory."""
    first = data.train.subset(torch.zeros(1, dtype=torch.long))
    x = torch.as_tensor(first.x[torch.arange(1)]).expand(count, *data.event_shape)
    labels = None if first.labels is None else first.labels.expand(count)
    return replace(data, train=replace(data.train, x=x, labels=labels))


def _flat(pairs: list[tuple[str, ...]]) -> list[str]:
    return [word for pair in pairs for word in pair]
