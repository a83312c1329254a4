"""``pyro-vae reconstruct``: compare data with their reconstructions by a fitted model."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import plots
from pyro_vae.cli.output.files import (
    add_out,
    categories_of,
    check_table,
    columns_of,
    is_arrays,
    is_table,
    out_path,
    row_keys,
    with_row_keys,
    write_arrays,
    write_table,
)
from pyro_vae.cli.run.predictions import Prediction, observed_arguments, predictions
from pyro_vae.cli.run.trained import TrainedModel, open_trained, read_options, run_parser
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.posterior.guide_draws import Guide
from pyro_vae.inference.posterior.posterior import posterior
from pyro_vae.program.prior_guide import require_guide

DESCRIPTION = """\
Draw latents from the guide for held-out data, and show the means of p(x | z)
next to the data. The rows are drawn at random. A .csv holds, for a table, each
row's number in the file (from 0), the means, and the class. An .npz holds the
row numbers, the data, the means at every observed site, and the labels."""
EXAMPLES = (
    "pyro-vae reconstruct runs/vae --out reconstructions.png",
    "pyro-vae reconstruct runs/vae --split train --num 1000 --out images.npz",
)


def main(words: Sequence[str]) -> int:
    """Write a picture, a table or arrays of reconstructions."""
    parser = run_parser("reconstruct", DESCRIPTION, EXAMPLES)
    parser.add_argument(
        "--num", type=int | None, help="the number of rows; by default 20 images, 500 rows"
    )
    add_out(parser, "reconstructions.png")
    options = read_options(parser, words)
    path = out_path(options)
    trained = open_trained(options)
    try:
        rows, data, made = reconstruct(trained, options.num)
    except InputError as error:
        raise error.at(options.run) from error
    keys = row_keys(trained.split, rows)
    if is_arrays(path):
        means = {f"{name}_mean": prediction.mean for name, prediction in made.items()}
        write_arrays(path, {**keys, "data": data, **means, **categories_of(trained.split)})
    elif is_table(path):
        prediction = trained.of_data(made)
        argument = trained.argument_of(prediction)
        table = prediction.mean if argument else check_table(prediction.mean, path)
        columns = columns_of(trained.split, table, argument)
        write_table(path, with_row_keys(keys, columns, trained.label, trained.split.id_name))
    else:
        plots.save(picture(trained, data, made), path)
    print(path)
    return 0


def reconstruct(
    trained: TrainedModel, num: int | None = None
) -> tuple[Tensor, Tensor, dict[str, Prediction]]:
    """Return row numbers in the split, the data there and their reconstructions, in the data's units.

    Raises:
        InputError: the model was fitted without a guide.
    """
    require_guide(trained.program, "look at draws with pyro-vae sample")
    if num is None:
        num = 20 if len(trained.data.event_shape) == 3 else 500
    rows = trained.random_rows(at_least_1("--num", num))
    batch = trained.rows(rows)
    found = posterior(
        trained.program,
        batch,
        method=Guide(),
        num_draws=1,
        seed=trained.seed,
        device=trained.device,
        progress=False,
    )
    means = found.reconstructions(seed=trained.seed)
    arguments = observed_arguments(trained.program, *batch)
    made = trained.in_data_units(predictions(means, means, arguments))
    if not trained.arguments:
        return rows, trained.split.to_original(batch[0]), made
    argument = trained.argument_of(trained.of_data(made))
    if argument is None:
        names = ", ".join(argument.name for argument in trained.arguments)
        raise InputError(
            f"the model observes none of its arguments ({names}) unchanged, so its reconstructions have "
            "no data to compare with",
            subject="model",
            remedy="pass an argument as obs=",
        )
    return rows, trained.split.values_of(argument, rows), made


def picture(trained: TrainedModel, data: Tensor, made: dict[str, Prediction]) -> Figure:
    """Draw data and their reconstructions."""
    prediction = trained.of_data(made)
    if prediction.mean.shape != data.shape:
        shapes = {name: tuple(p.mean.shape[1:]) for name, p in made.items()}
        raise InputError(
            f"no observed site has the data's shape {tuple(data.shape[1:])}: the shapes are {shapes}",
            subject="--out",
            remedy="write the means of all sites with --out reconstructions.npz",
        )
    return plots.reconstructions(data, prediction.mean, trained.columns_of(prediction))
