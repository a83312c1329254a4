"""The options of ``pyro-vae fit``: of the run, the data, the fit and the model."""

import inspect
from collections.abc import Sequence
from typing import Literal

from jsonargparse import ArgumentParser

from pyro_vae.cli.options.data import add_data_options
from pyro_vae.cli.options.from_data import inferred_names, size_parameters
from pyro_vae.cli.options.parser import new_parser
from pyro_vae.inference.svi.fit import fit
from pyro_vae.tracking import TRACKERS

DESCRIPTION = """\
Fit a model to data by stochastic variational inference. The folder OUT then
holds the configuration with every option, the metrics of each epoch, a
checkpoint, the learning curve and a diagram of the model."""
EXAMPLES = (
    "pyro-vae fit --model VAE --data digits --epochs 50 --out runs/vae --seed 0",
    "pyro-vae fit --model VAE --model.latent_dim 2 --data table.csv --out runs/a",
    "pyro-vae fit --model my_model.MyVAE --data digits --out runs/mine",
    "pyro-vae fit --model my.Visits --data a.csv --arguments x=age,income y=visits",
    "pyro-vae fit --config runs/a/config.yaml --optimizer.lr 3e-4 --out runs/b",
    "pyro-vae fit --resume runs/vae --epochs 100",
    "pyro-vae fit --model VAE --help                    the options of this model",
    "pyro-vae fit --model VAE --model.encoder.help MLP  the options of a part",
)
MODEL = """\
--model CLASS         a model that `pyro-vae models` lists, or MODULE.CLASS,
                      your own; --model CLASS --help shows its options,
                      --model.OPTION
The likelihood, and the networks for images and missing values, suit the data
unless you name them."""
FIT_ARGUMENTS = {  # of the function fit, that are not options
    "program",
    "data",
    "validation",
    "device",
    "out",
    "resume",
    "record",
    "progress",
    "on_epoch",
    "args",
    "kwargs",
    "control",
}
ADAM = "torch.optim.Adam"
Tracked = Literal["tensorboard", "mlflow", "wandb"]


def fit_parser(model: type | None, arguments: Sequence[str] = ()) -> ArgumentParser:
    """Return the parser of ``fit``.

    Args:
        model: the model's class, if it is known, whose constructor has options too.
        arguments: names of the model's arguments; the data set the constructor's ``num_NAME``.
    """
    parser = new_parser("fit", DESCRIPTION, EXAMPLES)
    add = parser.add_argument_group("the run").add_argument
    add("-o", "--out", type=str | None, help="the folder of the run; by default runs/MODEL-DATA")
    add("--config", action="config", help="a YAML file with options, such as config.yaml of a run")
    add("--resume", type=str | None, metavar="RUN", help="continue the run in this folder")
    add("--device", type=str, default="auto", help="cpu, cuda, cuda:1, ...")
    add("--track", type=Tracked | None, help="send each epoch's figures there, too: "
        f"{', '.join(TRACKERS)}")  # fmt: skip
    data_options = add_data_options(parser)
    data_options.add_argument("--labelled", type=int | None, help="keep the labels of so many training "
        "rows, drawn at random, and make the others unknown")  # fmt: skip
    group = parser.add_argument_group("the fit")
    group.add_function_arguments(fit, as_group=False, skip=set[str | int](FIT_ARGUMENTS))
    parser.set_defaults(optimizer=ADAM)
    for action in parser._actions:
        if action.dest == "optimizer":
            action.help = (
                "makes the optimizer; by default Adam at a learning rate that suits the data"
            )
    group = parser.add_argument_group("the model", MODEL)
    if model is not None:
        inferred, parameters = inferred_names(model), inspect.signature(model).parameters
        required = {n for n in inferred if parameters[n].default is inspect.Parameter.empty}
        skip = {*size_parameters(arguments), *required}
        group.add_class_arguments(model, "model", as_group=False, skip=skip, fail_untyped=False)
        for name in required:
            group.add_argument(f"--model.{name}", type=int | None, help="by default from the data")
        names = {f"model.{name}" for name in inferred}
        parser.set_defaults(dict.fromkeys(names))
        for action in parser._actions:
            if action.dest in names - {f"model.{name}" for name in required}:
                action.help = f"{action.help or ''} By default it suits the data.".lstrip()
    return parser
