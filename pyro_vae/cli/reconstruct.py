"""``pyro-vae reconstruct``: show data beside what a run's model makes of them."""

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
from pyro_vae.cli.run.trained import TrainedModel, open_trained, read_options, run_parser
from pyro_vae.errors import InputError
from pyro_vae.program.predict import Prediction, reconstructions

DESCRIPTION = """\
Draws latents from the guide, given held-out data, and shows the means of p(x | z) beside the data.
The rows are drawn at random by the seed. A .csv has, of a table, each row's number in its file (from 0),
the means below the columns' names, and the class. An .npz holds the rows' numbers, the data, the means of
every observed site, and labels."""
EXAMPLES = (
    "pyro-vae reconstruct runs/vae --out reconstructions.png",
    "pyro-vae reconstruct runs/vae --split train --num 1000 --out reconstructions.npz",
)


def main(words: Sequence[str]) -> int:
    parser = run_parser("reconstruct", DESCRIPTION, EXAMPLES)
    parser.add_argument("--num", type=int | None, help="how many; by default 20 images, 500 rows")
    add_out(parser, "reconstructions.png")
    options = read_options(parser, words)
    path = out_path(options)
    trained = open_trained(options)
    rows, data, made = reconstruct(trained, options.num)
    known = row_keys(trained.split, rows)
    if is_arrays(path):
        means = {f"{name}_mean": prediction.mean for name, prediction in made.items()}
        write_arrays(path, {**known, "data": data, **means, **categories_of(trained.split)})
    elif is_table(path):
        prediction = trained.of_data(made)
        argument = trained.argument_of(prediction)
        table = prediction.mean if argument else check_table(prediction.mean, path)
        columns = columns_of(trained.split, table, argument)
        write_table(path, with_row_keys(known, columns, trained.label, trained.split.id_name))
    else:
        plots.save(picture(trained, data, made), path)
    print(path)
    return 0


def reconstruct(
    trained: TrainedModel, num: int | None = None
) -> tuple[Tensor, Tensor, dict[str, Prediction]]:
    """Row numbers in the split, their data, and what the model makes of these, in the data's units."""
    if num is None:
        num = 20 if len(trained.data.event_shape) == 3 else 500
    if num < 1:
        raise InputError(f"--num must be at least 1, not {num}")
    rows = trained.some_rows(num)
    batch = trained.rows(rows)
    made = reconstructions(trained.program, *batch, seed=trained.seed)
    made = trained.in_data_units(made)
    if not trained.arguments:
        return rows, trained.split.to_original(batch[0]), made
    argument = trained.argument_of(trained.of_data(made))
    if argument is None:
        raise InputError(
            "no site of the model observes one of its arguments as it is, so there is nothing to hold "
            f"what it makes of them against: it is given {', '.join(a.name for a in trained.arguments)}"
        )
    return rows, trained.split.values_of(argument, rows), made


def picture(trained: TrainedModel, data: Tensor, made: dict[str, Prediction]) -> Figure:
    prediction = trained.of_data(made)
    means = prediction.mean
    if means.shape != data.shape:
        raise InputError(
            f"the model's sites have shapes {[tuple(p.mean.shape[1:]) for p in made.values()]}, none "
            f"of them the data's {tuple(data.shape[1:])}; --out with .npz writes them all"
        )
    return plots.reconstructions(data, means, trained.columns_of(prediction))
