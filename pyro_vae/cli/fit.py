"""``pyro-vae fit``: fit a model to data, or go on with a run."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyro_vae import checkpoint, plots
from pyro_vae.cli.graph import leave_graph
from pyro_vae.cli.options.model import grows_without_bound
from pyro_vae.cli.options.parser import take_options
from pyro_vae.cli.output.console import command, note
from pyro_vae.cli.run.config import Experiment
from pyro_vae.cli.run.folder import (
    CONFIG,
    RunFolder,
    check_free,
    claimed,
    naming,
    open_run,
    read_config,
)
from pyro_vae.cli.run.missing_values import check_reads_gaps
from pyro_vae.data import DataSet, facts_of
from pyro_vae.inference.svi.fit import fit
from pyro_vae.inference.svi.run_state import CHECKPOINT
from pyro_vae.inference.svi.training_loop import FitResult, shown_figure

CURVE = "learning_curve.png"


def main(words: Sequence[str]) -> int:
    resumed, words = take_options(words, "--resume".__eq__)
    if resumed and not {"-h", "--help"} & set(words):
        return _resume(Path(resumed[-1][1]), words)
    files, words = take_options(words, "--config".__eq__)
    config = read_config(Path(files[-1][1])) if files else None
    experiment = Experiment.read(words, config)
    folder = Path(experiment.options.out or _default_folder(experiment))
    check_free(folder)
    data = experiment.load_data()
    note(data.describe())
    if warning := grows_without_bound(experiment.model, data):
        note(warning)
    experiment, chosen = experiment.suited_to(data)
    if chosen:
        note(chosen)
    _, result = train(folder, experiment, data)
    report(folder, experiment, result, data)
    return 0


def train(folder: Path, experiment: Experiment, data: DataSet) -> tuple[Any, FitResult]:
    """A new run in ``folder``: the trained program, and how it went."""
    program = experiment.build(data)
    check_reads_gaps(experiment, program, data)
    with claimed(folder, experiment), _resumable(folder, experiment):
        options = experiment.to_dict()
        record = {"data": data.record(), "facts": facts_of(data), "options": options}
        result = fit(program, data, out=folder, record=record, **experiment.fit_options())
    _note_epochs(folder, experiment, result)
    draw_curve(folder, result, data)
    leave_graph(folder, program, data)
    return program, result


def _resume(folder: Path, words: Sequence[str]) -> int:
    run = open_run(folder, words)
    data, before = run.load_data(), run.saved[1]["position"]["epoch"]
    program, options = run.experiment.build(data), run.experiment.fit_options()
    for said in run.changes:
        note(f"{said} from here on")
    checkpoint.write_text(folder / CONFIG, run.experiment.to_yaml())
    with _resumable(folder, run.experiment):
        kept = run.saved[1]["options"]
        record = {"data": data.record(), "facts": facts_of(data), "options": kept}
        result = fit(program, data, out=folder, resume=True, record=record, **options)
    _note_epochs(folder, run.experiment, result)
    draw_curve(folder, result, data)
    if result.metrics and result.metrics[-1]["epoch"] == before:
        note(f"the run was finished; {_further(run, before, result.epochs)} would go on with it")
    report(folder, run.experiment, result, data)
    return 0


@contextmanager
def _resumable(folder: Path, experiment: Experiment) -> Iterator[None]:
    """Says of a run that is stopped how it can go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if (folder / CHECKPOINT).exists():
            run = f"{folder}{naming(experiment.to_dict())}"
            stop.add_note(f"The run is saved; to go on:\n  {command()} fit --resume {run}")
        raise


def draw_curve(folder: Path, result: FitResult, data: DataSet) -> None:
    if result.metrics:
        unit = "image" if len(data.event_shape) == 3 else "row"
        unit = "data set" if result.is_joint else unit
        plots.save(plots.learning_curve(result.metrics, unit), folder / CURVE)


def report(folder: Path, experiment: Experiment, result: FitResult, data: DataSet) -> None:
    """Says how a run went, and what can be done with it."""
    run = f"{folder}{naming(experiment.to_dict())}"
    for how in result.notes if not sys.stderr.isatty() else ():  # where there is a bar, it said so
        note(how)
    done = len(result.metrics)
    epochs = f"{done} epoch{'' if done == 1 else 's'}"
    print(f"{folder}: {epochs} in {result.seconds:.1f} s{_best(result)}")
    if result.best_epoch == done:
        note(
            "the last epoch is the best: more epochs may help "
            f"({command()} fit --resume {run} --epochs {2 * done})"
        )
    fills_gaps = data.num_missing and data.train.arguments is None
    note("next:")
    for verb in ("evidence", "sample", "reconstruct", *(["impute"] if fills_gaps else [])):
        note(f"  {command()} {verb} {run}")


def _further(run: RunFolder, done: int, asked: int) -> str:
    """What makes a finished run go on: more epochs, or patience, where that was at its end."""
    if done >= asked:
        return f"--epochs {2 * done}"
    return f"--patience {2 * run.experiment.options.patience} or another --optimizer.lr"


def _note_epochs(folder: Path, experiment: Experiment, result: FitResult) -> None:
    """Writes down how many epochs there were to be, where the data have said that."""
    if experiment.options.epochs is None:
        options = experiment.options.clone()
        options.epochs = result.epochs
        checkpoint.write_text(folder / CONFIG, replace(experiment, options=options).to_yaml())


def _best(result: FitResult) -> str:
    if result.best_epoch is None:
        return ""
    name, value = shown_figure(next(m for m in result.metrics if m["epoch"] == result.best_epoch))
    figure = name.replace("_", " ").replace("elbo", "ELBO")
    unit = "of all data together" if result.is_joint else "per datum"
    return f"; best {figure} {value:.3f} nats {unit}, at epoch {result.best_epoch}"


def _default_folder(experiment: Experiment) -> str:
    data = Path(experiment.options.data or "data").stem
    return f"runs/{experiment.model.__name__}-{data}".lower()
