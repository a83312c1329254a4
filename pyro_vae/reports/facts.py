"""What was fitted to what, with what outcome, and the command that repeats it."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml

from pyro_vae.cli.run.fit_record import versions
from pyro_vae.cli.run.model_inputs import unbounded_density_note
from pyro_vae.data import BlankDataSet
from pyro_vae.data.description import shape_of
from pyro_vae.inference.svi.fit_result import monitored_figure
from pyro_vae.notebook import table
from pyro_vae.page import paragraphs, wide
from pyro_vae.program.contract import as_program
from pyro_vae.reports.runs import Run

MOST_LETTERS = 200  # of an option's value
UNKNOWN = "not kept in the run's folder"


def overview(runs: Sequence[Run]) -> str:
    """Return a table of the runs' facts, a column for each run."""
    columns = [dict(_facts(run)) for run in runs]
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [(name, *(column.get(name, "") for column in columns)) for name in names]
    return wide(table(rows, ("", *(run.name for run in runs))))


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    options, data = run.folder.config.options, run.trained.data
    model = run.folder.config.to_dict()["model"]
    yield "model", model["class_path"]
    story = (run.folder.config.model.__doc__ or "").strip().split("\n")[0]
    if story:
        yield "its story", story
    for name, value in model["init_args"].items():
        if value is not None:
            yield f"  {name}", _in_words(value)
    if count := _num_parameters(run.trained.program):
        yield "parameters", f"{count:,}"
    yield "data", str(options.data)
    yield "a row", shape_of(data.event_shape)
    sizes = run.folder.saved[1]["data"]["sizes"]
    yield "rows", " / ".join(f"{size:,} {name}" for name, size in sizes.items() if size)
    yield "objective", "ELBO" if options.elbo is None else _in_words(_dumped(run, "elbo"))
    if options.optimizer is not None:
        yield "optimizer", _in_words(_dumped(run, "optimizer"))
    yield from _outcome(run)
    yield "seed", f"{options.seed}"


def _outcome(run: Run) -> Iterator[tuple[str, str]]:
    if run.metrics:
        yield "epochs", f"{run.metrics[-1]['epoch']:,}"
        chosen = [m for m in run.metrics if m["epoch"] == run.best_epoch] or run.metrics[-1:]
        name, value = monitored_figure(chosen[0])
        title = name.replace("_", " ").replace("elbo", "ELBO")
        at = "best" if run.best_epoch else "last"
        unit = "of all data" if run.record is not None and run.record.is_joint else "a row"
        yield f"{at} {title}, nats {unit}", f"{value:.3f} (epoch {chosen[0]['epoch']:,})"
    if run.record is not None:
        yield "time of the fit", f"{run.record.seconds:,.1f} s"


def _dumped(run: Run, option: str) -> Any:
    return run.folder.config.to_dict()[option]


def _in_words(value: Any) -> str:
    """Return an option's value in a line: a class by its name, with its own options.

    >>> _in_words({"class_path": "torch.optim.Adam", "init_args": {"lr": 0.1, "foreach": None}})
    'Adam(lr=0.1)'
    """
    if isinstance(value, Mapping) and "class_path" in value:
        given = (value.get("init_args") or {}).items()
        inner = ", ".join(f"{k}={_in_words(v)}" for k, v in given if v is not None)
        text = value["class_path"].rpartition(".")[2] + (f"({inner})" if inner else "")
    elif isinstance(value, list):
        text = f"[{', '.join(map(_in_words, value))}]"
    else:
        text = str(value)
    return text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]} ..."


def _num_parameters(program: Any) -> int:
    modules = as_program(program).modules.values()
    parameters = {id(p): p for module in modules for p in module.parameters()}
    return sum(p.numel() for p in parameters.values())


def data_table(run: Run) -> str:
    """Return the splits, the columns and the facts about the values, or why they are not there."""
    if isinstance(run.trained.data, BlankDataSet):
        return paragraphs([f"The run's data are not there: {run.missing}"])
    return wide(run.trained.data._repr_html_())


def remarks(run: Run) -> str:
    """Return the verdict and the notes of the fit, and warnings on the data."""
    if run.record is None:
        said = [f"Notes of the fit are {UNKNOWN}."]
    else:
        said = [run.record.verdict, *run.record.notes]
    if not isinstance(run.trained.data, BlankDataSet):
        warning = unbounded_density_note(run.folder.config.model, run.trained.data)
        said += [warning] if warning else []
    return paragraphs(dict.fromkeys(said))


def how_to_repeat(run: Run) -> str:
    """Return the versions, and a command with the configuration that it needs."""
    again = f"{run.folder.folder.name}-again"
    command = f"pyro-vae fit --config config.yaml --out {shlex.quote(f'runs/{again}')}"
    config = yaml.safe_dump(run.folder.config.to_dict(), sort_keys=False, allow_unicode=True)
    of_fit = {} if run.record is None else run.record.versions
    rows = [(name, of_fit.get(name, UNKNOWN), now) for name, now in versions().items()]
    data = run.folder.config.options.data
    where = f" in the folder from which {data} is found" if Path(str(data)).suffix else ""
    return (
        wide(table(rows, ("version", "of the fit", "of this report")))
        + paragraphs([f"Save the configuration as config.yaml, and run{where}:"])
        + f'<pre class="command">{escape(command)}</pre>'
        + f"<details><summary>The configuration</summary><pre>{escape(config)}</pre></details>"
    )
