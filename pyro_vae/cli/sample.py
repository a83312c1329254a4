"""``pyro-vae sample``: draw new data from a fitted model."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import plots
from pyro_vae.cli.output.console import note
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
    write_images,
    write_table,
)
from pyro_vae.cli.run.chosen_rows import NO_DATA, chosen_rows
from pyro_vae.cli.run.predictions import Prediction, observed_arguments, predictions
from pyro_vae.cli.run.trained import TrainedModel, open_trained, read_options, run_parser
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.posterior.prior import prior_samples
from pyro_vae.inference.synthesis.as_in_file import as_in_file
from pyro_vae.inference.synthesis.report import synthesis_report
from pyro_vae.inference.synthesis.synthesize import Synthesis
from pyro_vae.memory import format_bytes

DESCRIPTION = """\
Draw latents from the prior, and data from the likelihood. A picture shows
images as the means of p(x | z), and for a table the distribution of each column
next to the data's. A .csv holds the draws of a table, as its file could have
them. An .npz holds draws and means at every observed site. A name without an
ending is a folder of images. With --where the rows are draws given values of
columns, by importance resampling. If the model takes labels, it gets those of
the data in turn; the last column of a .csv, and `labels`, hold the class of
each draw. If the model takes columns by name (--arguments), it gets those of
the data's rows in turn; a .csv holds them, the draws of the observed columns
and each row's number in the file."""
EXAMPLES = (
    "pyro-vae sample runs/vae --num 64 --out samples.png",
    "pyro-vae sample runs/vae --num 10000 --seed 1 --out samples.npz",
    "pyro-vae sample runs/table --num 5000 --where sex=Female --out more.csv",
    "pyro-vae sample runs/table --num 5000 --report report.html --out more.csv",
    "pyro-vae sample runs/conditional --per_class 100 --out more",
)
ROWS_AT_ONCE, VALUES_AT_ONCE = 10_000, 2**24  # drawn at once
MAX_BYTES = 2**30  # of draws and their means
REPORTS = (".html", *plots.ENDINGS)
MAX_IMAGES = 10_000  # in one picture

Draws = dict[str, Prediction]


def main(words: Sequence[str]) -> int:
    """Write a picture, a table, a folder of images or arrays of draws."""
    parser = run_parser("sample", DESCRIPTION, EXAMPLES)
    add = parser.add_argument
    add("--num", type=int | None, help="the number of draws; by default 64 images, 2,000 rows")
    add("--where", type=str, nargs="+", metavar="COLUMN=VALUE", help="draw rows given these values")
    add("--per_class", type=int | None, help="draw so many rows of each class")
    add("--target", type=str | None, help="the column of a table with the classes, for "
        "--per_class and --report (by default the last one)")  # fmt: skip
    add("--report", type=str | None, help="compare the rows with the data, in this .html, .png, .pdf "
        "or .svg file")  # fmt: skip
    add_out(parser, "samples.png")
    options = read_options(parser, words)
    path = _out_path(options)
    report = None if options.report is None else out_path(options, REPORTS, "report")
    trained = open_trained(options, rows_required=report is not None)
    are_images = len(trained.data.event_shape) == 3
    is_picture = path.suffix and not is_arrays(path) and not is_table(path)
    if is_picture and are_images and (options.num or 0) > MAX_IMAGES:
        problem = f"a picture of {options.num:,} images is too large"
        raise InputError(problem, subject="--num", expected=f"at most {MAX_IMAGES:,}",
            remedy="choose --out with the ending .npz")  # fmt: skip
    if not path.suffix and not are_images:
        problem = f"{path} has no ending, and the data are no images, which a folder could hold"
        raise InputError(problem, subject="--out", remedy="choose the ending .csv or .npz")
    if options.where or options.per_class is not None or report is not None or not path.suffix:
        _write_chosen(path, report, trained, options)
    else:
        _write_draws(path, trained, options.num)
    print(path)
    return 0


def _out_path(options: Namespace) -> Path:
    """Return the file that ``--out`` names, or the folder, if it has no ending."""
    path = Path(options.out)
    return path if not path.suffix and not path.exists() else out_path(options)


def _write_chosen(
    path: Path, report: Path | None, trained: TrainedModel, options: Namespace
) -> None:
    """Write rows that are given something, or that a report is about."""
    made, labels = chosen_rows(trained, options, default_num(trained, options.num))
    found = None
    if report is not None:  # before anything is written, as the target may be none
        found = synthesis_report(made, trained.data, target=options.target, seed=trained.seed)
    label = [(trained.label or "label", labels)] if labels else []
    if not path.suffix:
        write_images(path, made.x, labels)
    elif is_arrays(path):
        weights = {} if made.ess is None else {"ess": made.ess, "pareto_k": made.pareto_k}
        classes = {"classes": labels} if labels else {}
        write_arrays(path, {"x": made.x, **classes, **weights} | categories_of(trained.split))
    elif is_table(path):
        check_table(made.x, path)
        columns = (
            made.frame().items() if trained.split.columns else columns_of(trained.split, made.x)
        )
        write_table(path, [*columns, *label])
    else:
        compared = trained.rows_to_compare
        data = (
            None if compared is None else compared.to_original(compared.read(_some(len(compared))))
        )
        shown = plots.samples(
            made.x.float(), data, trained.split.columns, f"{len(made):,} draws from the model"
        )
        plots.save(shown, path)
    if found is not None and report is not None:
        found.save(report)
        print(found.summary())


def _write_draws(path: Path, trained: TrainedModel, num: int | None) -> None:
    drawn, given = draw(trained, num)
    known = trained.rows_to_compare
    if not trained.arguments and trained.split.columns and known is None:
        note(NO_DATA)
    elif not trained.arguments and trained.split.columns and known is not None:
        of_data = trained.of_data(drawn)
        value = as_in_file(of_data.value, known)
        drawn = {
            name: replace(each, value=value) if each is of_data else each
            for name, each in drawn.items()
        }
    if is_arrays(path):
        values = {name: prediction.value for name, prediction in drawn.items()}
        means = {f"{name}_mean": prediction.mean for name, prediction in drawn.items()}
        write_arrays(path, given | values | means | categories_of(trained.split))
    elif is_table(path) and trained.arguments:
        write_table(path, with_row_keys(given, all_columns(trained, given, drawn, path)))
    elif is_table(path):
        value = check_table(trained.of_data(drawn).value, path)
        columns = columns_of(trained.split, value)
        if trained.split.columns is not None and known is not None:
            frame = Synthesis(value, trained.split).frame()
            columns = [(str(name), cells) for name, cells in frame.items()]
        write_table(path, with_row_keys(given, columns, trained.label))
    else:
        plots.save(picture(trained, drawn), path)


def _some(rows: int) -> Tensor:
    return torch.arange(min(10_000, rows))


def default_num(trained: TrainedModel, num: int | None) -> int:
    """Return the number of draws."""
    if num is None:
        return 64 if len(trained.data.event_shape) == 3 else 2_000
    return at_least_1("--num", num)


def draw(trained: TrainedModel, num: int | None = None) -> tuple[Draws, dict[str, Any]]:
    """Return draws at every observed site, and by name what the model was given for them.

    It is given, in turn, the data's classes, or the rows of the file with the arguments it does not draw.
    """
    num = default_num(trained, num)
    size = min(num, max(1, min(ROWS_AT_ONCE, VALUES_AT_ONCE // trained.data.event_shape.numel())))
    chunks = _draw_chunks(trained, num, size)
    first = next(chunks)
    _, part, labels = first
    if size == num:
        return part, _given(trained, part, num, labels)
    needed = num * sum(p.value.nbytes + p.mean.nbytes for p in part.values()) // size
    if needed > MAX_BYTES:
        raise InputError(
            f"--num {num:,} takes {format_bytes(needed)} of memory",
            subject="--num",
            expected=f"at most {format_bytes(MAX_BYTES)} at a time",
            remedy="draw fewer, several times, each time with another --seed",
        )
    drawn = {
        name: replace(p, value=_empty(num, p.value), mean=_empty(num, p.mean))
        for name, p in part.items()
    }
    known = []
    for rows, part, labels in chain([first], chunks):
        for name, prediction in part.items():
            drawn[name].value[rows] = prediction.value
            drawn[name].mean[rows] = prediction.mean
        known += [] if labels is None else [labels]
    return drawn, _given(trained, drawn, num, torch.cat(known) if known else None)


def _draw_chunks(
    trained: TrainedModel, num: int, size: int
) -> Iterator[tuple[slice, Draws, Tensor | None]]:
    """Yield draws of ``size`` rows at a time, each time from another seed, with their labels."""
    generator = torch.Generator().manual_seed(trained.seed)
    for start in range(0, num, size):
        stop, seed = min(num, start + size), int(torch.randint(2**31, (), generator=generator))
        part, labels = _draw_rows(trained, start, stop, seed if start else trained.seed)
        yield slice(start, stop), part, labels


def _draw_rows(
    trained: TrainedModel, start: int, stop: int, seed: int
) -> tuple[Draws, Tensor | None]:
    """Return draws of some rows, and their labels: drawn by the model, or given to it."""
    batch = trained.rows(torch.arange(start, stop) % len(trained.split))
    found = prior_samples(trained.program, batch, num_draws=1, seed=seed, device=trained.device)
    values, means = (
        {name: of_site[0] for name, of_site in of.items()} for of in (found.predictive, found.means)
    )
    arguments = observed_arguments(trained.program, *batch, by_guide=False)
    drawn = trained.in_data_units(predictions(values, means, arguments))
    if len(batch) == 1 or trained.arguments:
        return drawn, None
    return drawn, drawn["label"].value if "label" in drawn else batch[1]


def _empty(num: int, like: Tensor) -> Tensor:
    return like.new_empty((num, *like.shape[1:]))


def _given(trained: TrainedModel, drawn: Draws, num: int, labels: Tensor | None) -> dict[str, Any]:
    """Return by name what the model was given for the draws."""
    if not trained.arguments:
        return {} if labels is None else class_columns(trained.split, labels)
    index = torch.arange(num) % len(trained.split)
    observed = [trained.argument_of(prediction) for prediction in drawn.values()]
    given = {
        a.name: trained.split.values_of(a, index) for a in trained.arguments if a not in observed
    }
    return {"rows": file_rows(trained.split, index), **given}


def all_columns(
    trained: TrainedModel, given: dict[str, Any], drawn: Draws, path: Path
) -> list[tuple[str, Any]]:
    """Return the columns that the model was given and those that it drew, by their names in the file."""
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


def picture(trained: TrainedModel, drawn: Draws) -> Figure:
    """Draw images, or the columns of a table next to the data's."""
    prediction = trained.of_data(drawn)
    count = len(prediction.mean)
    if prediction.mean.dim() == 4:
        caption = f"{count} means of $p(x\\,|\\,z)$, $z$ from the prior"
        return plots.samples(prediction.mean, caption=caption)
    rows, data, argument = trained.rows_to_compare, None, trained.argument_of(prediction)
    some = _some(0 if rows is None else len(rows))
    if rows is not None and argument is not None:
        data = rows.values_of(argument, some)
    elif rows is not None and rows.event_shape == prediction.value.shape[1:]:
        data = rows.to_original(rows.read(some))
    return plots.samples(
        prediction.value,
        data,
        trained.columns_of(prediction),
        f"{count:,} draws from the model",
    )
