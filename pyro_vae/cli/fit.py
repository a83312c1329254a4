"""``pyro-vae fit``: fit a model to data, or continue a run."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pyro_vae import plots
from pyro_vae.cli.graph import save_graph
from pyro_vae.cli.options.parser import take_options
from pyro_vae.cli.output.console import command, note
from pyro_vae.cli.run.config import FitConfig
from pyro_vae.cli.run.fit_record import read_record, save_record
from pyro_vae.cli.run.folder import (
    CONFIG,
    RunFolder,
    check_free,
    claimed,
    open_run,
    read_config,
)
from pyro_vae.cli.run.model_inputs import check_reads_missing, unbounded_density_note
from pyro_vae.cli.run.track import tracked
from pyro_vae.cli.run.trust import options_to_repeat
from pyro_vae.data import DataSet, metadata_of
from pyro_vae.inference.svi.fit import fit
from pyro_vae.inference.svi.fit_result import FitResult, monitored_figure, times_of
from pyro_vae.inference.svi.run_storage import CHECKPOINT
from pyro_vae.program.prior_guide import has_prior_as_guide
from pyro_vae.storage import write_text

CURVE = "learning_curve.png"


def main(words: Sequence[str]) -> int:
    """Fit a model, or continue the run that ``--resume`` names."""
    resumed, words = take_options(words, "--resume".__eq__)
    if resumed and not {"-h", "--help"} & set(words):
        return _resume(Path(resumed[-1][1]), words)
    files, words = take_options(words, "--config".__eq__)
    config = FitConfig.read(words, read_config(Path(files[-1][1])) if files else None)
    folder = Path(config.options.out or _default_folder(config))
    check_free(folder)
    data = config.load_data()
    note(data.describe())
    if warning := unbounded_density_note(config.model, data):
        note(warning)
    config, inferred = config.completed(data)
    if inferred:
        note(inferred)
    _, result = train(folder, config, data)
    report(folder, config, result, data)
    return 0


def train(folder: Path, config: FitConfig, data: DataSet) -> tuple[Any, FitResult]:
    """Fit a new run in ``folder``; return the trained program and the result."""
    program = config.build(data)
    check_reads_missing(program, data, config.options.seed, partial(config.load_data, False))
    with claimed(folder, config), _resume_hint(folder, config):
        record = _record(data, config.to_dict())
        with tracked(folder, config) as hook:
            options = {"on_epoch": hook, **config.fit_options()}
            result = fit(program, data, out=folder, record=record, **options)
    _save_num_epochs(folder, config, result)
    save_record(folder, result)
    save_curve(folder, result, data)
    save_graph(folder, program, data)
    return program, result


def _resume(folder: Path, words: Sequence[str]) -> int:
    run, data, result, before = resume_run(folder, words)
    if result.metrics and result.metrics[-1]["epoch"] == before:
        note(f"the run was finished; {_to_continue(run, before, result.epochs)} would continue it")
    report(folder, run.config, result, data)
    return 0


def resume_run(folder: Path, words: Sequence[str]) -> tuple[RunFolder, DataSet, FitResult, int]:
    """Go on with a run; return it, its data, the result, and after which epoch it stood."""
    run = open_run(folder, words)
    said = read_record(folder)
    data, before = run.load_data(), run.saved[1]["position"]["epoch"]
    program, options = run.config.build(data), run.config.fit_options()
    for change in run.changes:
        note(change)
    write_text(folder / CONFIG, run.config.to_yaml())
    with _resume_hint(folder, run.config):
        record = _record(data, run.saved[1]["options"])
        with tracked(folder, run.config) as hook:
            options["on_epoch"] = hook
            result = fit(program, data, out=folder, resume=True, record=record, **options)
    _save_num_epochs(folder, run.config, result)
    save_record(folder, result, said)
    save_curve(folder, result, data)
    return run, data, result, before


def _record(data: DataSet, options: Any) -> dict[str, Any]:
    """Return the record of a run in its checkpoint: identity and facts of the data, and the options."""
    return {"data": data.record(), "facts": metadata_of(data), "options": options}


@contextmanager
def _resume_hint(folder: Path, config: FitConfig) -> Iterator[None]:
    """Add to an interruption how the run can be continued."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if (folder / CHECKPOINT).exists():
            run = f"{folder}{options_to_repeat(config.to_dict())}"
            stop.add_note(f"The run is saved; to continue:\n  {command()} fit --resume {run}")
        raise


def save_curve(folder: Path, result: FitResult, data: DataSet) -> None:
    """Draw the learning curve into the run's folder."""
    if result.metrics:
        unit = "image" if len(data.event_shape) == 3 else "row"
        unit = "data set" if result.is_joint else unit
        plots.save(plots.learning_curve(result.metrics, unit), folder / CURVE)


def report(folder: Path, config: FitConfig, result: FitResult, data: DataSet) -> None:
    """Print how a run went, and the commands that may come next."""
    run = f"{folder}{options_to_repeat(config.to_dict())}"
    for line in result.notes if not sys.stderr.isatty() else ():  # the progress bar showed them
        note(line)
    done, times = len(result.metrics), times_of(result.steps_per_epoch)
    print(
        f"{folder}: {done} {times if done != 1 else times[:-1]} in {result.seconds:.1f} s{_best(result)}"
    )
    for line in result.restarts_line():
        print(line)
    note(result.verdict)
    if result.best_epoch == done:
        steps = config.options.steps
        more = f"--epochs {2 * done}" if steps is None else f"--steps {2 * steps}"
        note(
            f"the last {times[:-1]} is the best: more {times} may help "
            f"({command()} fit --resume {run} {more})"
        )
    can_impute = data.num_missing and data.train.arguments is None
    note("next:")
    verbs = ["evidence", "sample", "reconstruct", *(["impute"] if can_impute else [])]
    if has_prior_as_guide(result.program) or not result.has_latents:
        verbs = [verb for verb in verbs if verb != "reconstruct"]
    for verb in verbs:
        alone = verb == "evidence" and has_prior_as_guide(result.program)
        note(f"  {command()} {verb} {run}{' --method ais --start prior' if alone else ''}")


def _to_continue(run: RunFolder, done: int, planned: int) -> str:
    """Return the options that continue a finished run: more epochs, or more patience if that ended it."""
    if done >= planned:
        steps = run.config.options.steps
        return f"--epochs {2 * done}" if steps is None else f"--steps {2 * steps}"
    return f"--patience {2 * run.config.options.patience} or another --optimizer.lr"


def _save_num_epochs(folder: Path, config: FitConfig, result: FitResult) -> None:
    """Write the number of epochs to the configuration, if it came from the data."""
    if config.options.epochs is None and config.options.steps is None:
        options = config.options.clone()
        options.epochs = result.epochs
        write_text(folder / CONFIG, replace(config, options=options).to_yaml())


def _best(result: FitResult) -> str:
    if result.best_epoch is None:
        return ""
    name, value = monitored_figure(
        next(m for m in result.metrics if m["epoch"] == result.best_epoch)
    )
    times = times_of(result.steps_per_epoch)
    figure = name.replace("_", " ").replace("elbo", "ELBO")
    unit = "for all data together" if result.is_joint else "per datum"
    return f"; best {figure} {value:.3f} nats {unit}, at {times[:-1]} {result.best_epoch}"


def _default_folder(config: FitConfig) -> str:
    data = Path(config.options.data or "data").stem
    return f"runs/{config.model.__name__}-{data}".lower()
