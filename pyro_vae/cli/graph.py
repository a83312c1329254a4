"""``pyro-vae graph``: a model and its guide as one plate diagram."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pyro_vae.cli.options.data import DATA, add_data_options, load_by
from pyro_vae.cli.options.model import find_function
from pyro_vae.cli.options.parser import new_parser, read, take_options
from pyro_vae.cli.output.console import note
from pyro_vae.cli.output.files import add_out, out_path
from pyro_vae.cli.run.config import Experiment
from pyro_vae.cli.run.folder import PARTS, open_run, rows_of
from pyro_vae.data import DataSet
from pyro_vae.errors import InputError
from pyro_vae.graph import render_model
from pyro_vae.graph.formats import FORMATS

DESCRIPTION = """\
Draws the model and the guide of a run, or of --model, as one plate diagram. A model that has not been
fitted is drawn on --data, by default the digits; of the data only the shapes matter."""
EXAMPLES = (
    "pyro-vae graph runs/vae",
    "pyro-vae graph --model VAE --model.latent_dim 2 --out vae.pdf",
    "pyro-vae graph --model my_model.model --data table.csv --text",
)
ROWS = 64
GRAPHS = ("graph.svg", "graph.png")  # what a run's folder holds


def main(words: Sequence[str]) -> int:
    asked, words = take_options(words, lambda name: name[2:].split(".")[0] in (*PARTS, *DATA))
    endings = [f".{name}" for name in FORMATS]
    parser = new_parser("graph", DESCRIPTION, EXAMPLES)
    parser.add_argument("run", type=str | None, nargs="?", help="the run's folder")
    add_out(parser, None, endings)
    parser.add_argument("--text", action="store_true", help="print it; write no file unless --out")
    parser.add_argument("--model_only", action="store_true", help="leave out the guide")
    parser.add_argument("--fold", action="store_true", help="draw a loop's steps once")
    parser.add_argument_group(
        "the model, where there is no run",
        "--model CLASS         with its options, as `pyro-vae fit` takes them\n"
        "--model MODULE.NAME   a class or a function of your own\n"
        "--data DATA           the data to call it on, with --data_root, --binarize, ...",
    )
    options = read(parser, words)
    if options.out is None and not options.text:
        options.out = "graph.svg"
    path = None if options.out is None else out_path(options, endings)
    program, batch = _run(options.run, asked) if options.run else _model(asked)
    if options.model_only:
        program = getattr(program, "model", program)
    graph = render_model(program, batch, fold=options.fold)
    if path is not None:
        graph.save(path)
        print(path)
    if options.text:
        print(graph.text)
    for warning in graph.warnings:
        note(warning)
    return 0


def leave_graph(folder: Path, program: Any, data: DataSet) -> None:
    """Draws a program, on a few rows of its data, into its run's folder."""
    try:
        graph = render_model(program, _some_rows(program, data))
        for name in GRAPHS:
            graph.save(folder / name)
    except InputError as error:  # what can be fitted is fitted, whether or not it can be drawn
        note(f"no diagram: {error}")


def _run(folder: str, asked: list[tuple[str, ...]]) -> tuple[Any, tuple[torch.Tensor, ...]]:
    run = open_run(folder, [word for pair in asked for word in pair])
    try:
        data = run.load_data()
    except InputError:  # only their shapes matter
        data = run.remembered_data()
    program = run.experiment.build(data)
    return program, _some_rows(program, data)


def _model(asked: list[tuple[str, ...]]) -> tuple[Any, tuple[torch.Tensor, ...]]:
    names = {name: value for name, value, *_ in asked}
    if "--model" not in names:
        raise InputError("what is to be drawn? Name a run's folder, or --model VAE")
    if "--data" not in names:
        asked = [*asked, ("--data", "digits")]
    function = find_function(names["--model"])
    if function is not None:
        parser = new_parser("graph", DESCRIPTION, EXAMPLES)
        add_data_options(parser)
        said = [word for pair in asked if pair[0] != "--model" for word in pair]
        data = load_by(read(parser, said))
        return function, _some_rows((function, function), data)
    experiment = Experiment.read([word for pair in asked for word in pair])
    data = experiment.load_data()
    experiment, _ = experiment.suited_to(data)
    program = experiment.build(data)
    return program, _some_rows(program, data)


def _some_rows(program: Any, data: DataSet) -> tuple[torch.Tensor, ...]:
    index = torch.arange(min(ROWS, len(data.train)))
    return next(rows_of(program, data.train, torch.device("cpu"), index))
