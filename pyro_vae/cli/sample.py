"""``pyro-vae sample``: draw new data from a run's model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import plots
from pyro_vae.cli.output.files import (
    add_out,
    categories_of,
    check_table,
    class_columns,
    columns_of,
    file_rows,
    is_arrays,
    is_table,
    out_path,
    with_row_keys,
    write_arrays,
    write_table,
)
from pyro_vae.cli.run.trained import TrainedModel, open_trained, read_options, run_parser
from pyro_vae.errors import InputError
from pyro_vae.memory import in_words
from pyro_vae.program.predict import Prediction, prior_samples

DESCRIPTION = """\
Draws latents from the prior, and data from the likelihood. A picture shows images as the means of
p(x | z), and of a table each column's draws beside the data. A .csv has the draws of a table below its
columns' names. An .npz holds draws and means of every observed site. A model that takes labels is given
those of the data in turn: the class of each draw is in a .csv's last column, and in labels. One that takes
columns by name (--arguments) is given those of the data's rows in turn: a .csv has them all, with draws
of what the model observes, and the row's number in the file."""
EXAMPLES = (
    "pyro-vae sample runs/vae --num 64 --out samples.png",
    "pyro-vae sample runs/vae --num 10000 --seed 1 --out samples.npz",
)
MOST_ROWS, MOST_VALUES = 10_000, 2**24  # that are drawn at once
MOST_BYTES = 2**30  # of draws and their means
MOST_IMAGES = 10_000  # in one picture


def main(words: Sequence[str]) -> int:
    parser = run_parser("sample", DESCRIPTION, EXAMPLES)
    parser.add_argument("--num", type=int | None, help="how many; by default 64 images, 2,000 rows")
    add_out(parser, "samples.png")
    options = read_options(parser, words)
    path = out_path(options)
    trained = open_trained(options, rows_needed=False)
    if (
        not is_arrays(path)
        and not is_table(path)
        and len(trained.data.event_shape) == 3
        and (options.num or 0) > MOST_IMAGES
    ):
        raise InputError(
            f"a picture shows up to {MOST_IMAGES:,} images; --out with .npz takes more"
        )
    drawn, known = draw(trained, options.num)
    if is_arrays(path):
        values = {name: prediction.value for name, prediction in drawn.items()}
        means = {f"{name}_mean": prediction.mean for name, prediction in drawn.items()}
        write_arrays(path, known | values | means | categories_of(trained.split))
    elif is_table(path) and trained.arguments:
        write_table(path, with_row_keys(known, columns_with_draws(trained, known, drawn, path)))
    elif is_table(path):
        columns = columns_of(trained.split, check_table(trained.of_data(drawn).value, path))
        write_table(path, with_row_keys(known, columns, trained.label))
    else:
        plots.save(picture(trained, drawn), path)
    print(path)
    return 0


def draw(
    trained: TrainedModel, num: int | None = None
) -> tuple[dict[str, Prediction], dict[str, Any]]:
    """Draws of every observed site, and what the model was given for them: the data's classes, or the rows
    and the other arguments of the data, in turn.
    """
    if num is None:
        num = 64 if len(trained.data.event_shape) == 3 else 2_000
    if num < 1:
        raise InputError(f"--num must be at least 1, not {num}")
    at_once = min(num, max(1, min(MOST_ROWS, MOST_VALUES // trained.data.event_shape.numel())))
    first, labels = _draw_some(trained, 0, at_once, trained.seed)
    if at_once == num:
        return first, _given(trained, first, num, labels)
    need = num * sum(p.value.nbytes + p.mean.nbytes for p in first.values()) // at_once
    if need > MOST_BYTES:
        raise InputError(
            f"--num {num:,} would take {in_words(need)} of memory; up to {in_words(MOST_BYTES)} are "
            "drawn at a time: draw fewer, each time with another --seed"
        )
    drawn = {
        name: replace(p, value=_empty(num, p.value), mean=_empty(num, p.mean))
        for name, p in first.items()
    }
    generator, all_labels = torch.Generator().manual_seed(trained.seed), []
    for start in range(0, num, at_once):
        stop, seed = min(num, start + at_once), int(torch.randint(2**31, (), generator=generator))
        if start:
            first, labels = _draw_some(trained, start, stop, seed)
        for name, prediction in first.items():
            drawn[name].value[start:stop] = prediction.value
            drawn[name].mean[start:stop] = prediction.mean
        all_labels.append(labels)
    known = [part for part in all_labels if part is not None]
    return drawn, _given(trained, drawn, num, torch.cat(known) if known else None)


def _empty(num: int, like: Tensor) -> Tensor:
    return like.new_empty((num, *like.shape[1:]))


def _given(
    trained: TrainedModel, drawn: dict[str, Prediction], num: int, labels: Tensor | None
) -> dict[str, Any]:
    """What each draw was made of."""
    if not trained.arguments:
        return {} if labels is None else class_columns(trained.split, labels)
    index = torch.arange(num) % len(trained.split)
    observed = [trained.argument_of(prediction) for prediction in drawn.values()]
    known = {
        a.name: trained.split.values_of(a, index) for a in trained.arguments if a not in observed
    }
    return {"rows": file_rows(trained.split, index), **known}


def columns_with_draws(
    trained: TrainedModel, given: dict[str, Any], drawn: dict[str, Prediction], path: Path
) -> list[tuple[str, Any]]:
    """The columns of what was given, and of what was drawn, by the names of the columns that it is of."""
    columns: dict[str, Any] = {}
    for argument in trained.arguments:
        if argument.name in given:
            columns |= columns_of(trained.split, given[argument.name], argument)
    for name, prediction in drawn.items():
        observed, value = trained.argument_of(prediction), prediction.value.cpu()
        if observed is not None:
            columns |= columns_of(trained.split, value, observed)
        elif value.dim() == 1:
            columns[name] = value
        else:
            table = check_table(value, path)
            columns |= {f"{name}_{place}": column for place, column in enumerate(table.T)}
    return list(columns.items())


def _draw_some(
    trained: TrainedModel, start: int, stop: int, seed: int
) -> tuple[dict[str, Prediction], Tensor | None]:
    """The draws of some rows, and their labels, drawn where none is given."""
    batch = trained.rows(torch.arange(start, stop) % len(trained.split))
    drawn = trained.in_data_units(prior_samples(trained.program, *batch, seed=seed))
    if len(batch) == 1 or trained.arguments:
        return drawn, None
    return drawn, drawn["label"].value if "label" in drawn else batch[1]


def picture(trained: TrainedModel, drawn: dict[str, Prediction]) -> Figure:
    prediction = trained.of_data(drawn)
    count = len(prediction.mean)
    if prediction.mean.dim() == 4:
        caption = f"{count} means of $p(x\\,|\\,z)$, $z$ from the prior"
        return plots.samples(prediction.mean, caption=caption)
    known, data, argument = trained.rows_to_compare, None, trained.argument_of(prediction)
    some = torch.arange(min(10_000, 0 if known is None else len(known)))
    if known is not None and argument is not None:
        data = known.values_of(argument, some)
    elif known is not None and known.event_shape == prediction.value.shape[1:]:
        data = known.to_original(known.read(some))
    return plots.samples(
        prediction.value,
        data,
        trained.columns_of(prediction),
        f"{count:,} draws from the model",
    )
