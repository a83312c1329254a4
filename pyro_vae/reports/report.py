"""The report on one run or several, as one HTML file."""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from html import escape
from pathlib import Path
from types import FunctionType
from typing import Any

import torch

from pyro_vae import argument_checks as checks
from pyro_vae.cli.options.model import path_of
from pyro_vae.cli.options.parser import imports_as_found
from pyro_vae.cli.run.folder import CONFIG, read_config
from pyro_vae.cli.run.names import run_names
from pyro_vae.cli.run.trust import TRUSTED, foreign_names
from pyro_vae.device import resolve
from pyro_vae.errors import InputError, true_or_false
from pyro_vae.inference.comparison.lineup import Candidate
from pyro_vae.page import page, paragraphs, section
from pyro_vae.program.generators import generators_as_found
from pyro_vae.progress import progress_bar
from pyro_vae.reports import evidences, facts, metrics, pictures
from pyro_vae.reports.runs import Run, open_for_report
from pyro_vae.storage import write_text

ENDING = ".html"
PICTURES: dict[str, Callable[..., str]] = {
    "Learning curve": pictures.curve,
    "Model and guide": pictures.plates,
    "Samples": pictures.samples,
    "Reconstructions": pictures.reconstructions,
}
Cell = Callable[[Run], str]
WORDS: dict[str, Cell] = {
    "Evidence, as kept with the run": evidences.kept,
    "What the fit said": facts.remarks,
    "Data": facts.data_table,
    "How to repeat it": facts.how_to_repeat,
}
CHECKS: dict[str, checks.Check] = {
    "out": checks.path,
    "evidence": true_or_false,
    "parts": checks.each(
        checks.instance((type, FunctionType), "a class or a function"),
        "a list of classes and functions",
    ),
    "seed": checks.seed,
    "overwrite": true_or_false,
    "progress": checks.optional(true_or_false),
}


def report(
    runs: Path | str | Sequence[Path | str],
    out: Path | str,
    *,
    evidence: bool = False,
    parts: Sequence[Any] = (),
    seed: int = 0,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: bool | None = None,
) -> Path:
    """Write a report on a run, or on several side by side, as one HTML file that loads nothing.

    The page shows what was fitted to what, the learning curve, the plate diagram, samples, reconstructions,
    the evidence with its diagnostics in words, the notes of the fit, versions, and the command that repeats
    the fit. It has no scripts. A part that a model cannot have (reconstructions without latents, say) is a
    sentence that says so.

    The evidence is what ``pyro-vae evidence RUN --out RUN/evidence.json`` has left in a run's folder.

    Args:
        runs: the folder of a run that ``pyro-vae fit`` wrote, or several.
        out: the file to write, with the ending .html.
        evidence: whether to estimate the evidence of each run from a few draws, and compare the runs.
        parts: classes and functions of your own that the runs' configurations name: models, parts of them,
            the optimizer, ... Others' code does not run.
        seed: of all draws.
        device: where the programs run.
        overwrite: whether to replace the file.
        progress: whether to draw a progress bar; by default in terminals and notebooks.

    Returns:
        The file.

    Raises:
        InputError: a folder is no run, or its run has not taken a step; the file exists; a run names code
            that is neither ours nor yours.

    >>> from pyro_vae import report
    >>> report("nowhere", "report.html")
    Traceback (most recent call last):
    pyro_vae.errors.InputError: there is no run in nowhere. Make one with ...
    """
    checks.check_arguments(CHECKS, locals())
    path, own = _free(Path(out), overwrite), frozenset(path_of(part) for part in parts)
    with imports_as_found(), generators_as_found():
        folders = _folders(runs)
        for folder in folders:
            _check_named(Path(folder, CONFIG), own)
        write_report(folders, path, own, evidence, seed, device, progress)
    return path


def write_report(
    folders: Sequence[str],
    path: Path,
    own: Collection[str],
    evidence: bool,
    seed: int,
    device: str | torch.device,
    progress: bool | None = None,
) -> None:
    """Write the report on the runs in some folders; ``own`` are the dotted names of code that may run."""
    place = resolve(device)
    opened = [
        open_for_report(name, folder, own, place, seed)
        for folder, name in run_names(folders).items()
    ]
    write_text(path, html_of(opened, evidence, progress))


def _folders(runs: Any) -> list[str]:
    given = [runs] if isinstance(runs, Path | str) else list(runs)
    for folder in given:
        checks.path("runs", folder)
    if not given:
        raise InputError(
            "there is no run to report on", subject="runs", expected="a folder, or several"
        )
    return [str(folder) for folder in given]


def _check_named(config: Path, own: Collection[str]) -> None:
    """Check that the caller has passed all foreign code that a run names; to open it checks it again.

    Raises:
        InputError: a class or a function is missing.
    """
    packages = tuple(name.split(".")[0] for name in own)
    foreign = foreign_names(read_config(config), TRUSTED + packages) if config.is_file() else {}
    for name in set(foreign.values()) - set(own):
        raise InputError(
            f"{config} names {name}, which is not part of pyro_vae",
            subject="parts",
            remedy=f"if you trust it, import it and pass parts=[{name.rpartition('.')[2]}]",
        )


def _free(path: Path, overwrite: bool) -> Path:
    """Return the path, if the report can be written there.

    Raises:
        InputError: the file exists, its folder does not, or its ending is not .html.
    """
    if path.suffix.lower() != ENDING:
        raise InputError(
            f"out {path} has no ending {ENDING}", subject="out", remedy=f"pass {path}{ENDING}"
        )
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent} for {path.name}", subject="out",
            remedy="make it, or choose another out")  # fmt: skip
    if path.exists() and not overwrite:
        raise InputError(f"{path} is there already", subject="out",
            remedy="choose another out, or pass overwrite=True")  # fmt: skip
    return path


def html_of(runs: Sequence[Run], evidence: bool, progress: bool | None) -> str:
    """Return the page on some runs; ``evidence``: with quick estimates."""
    parts = [section("What was fitted", facts.overview(runs))]
    dpi = pictures.dpi_for(len(runs))
    with progress_bar(len(runs) * (len(PICTURES) + 2 * evidence), progress, "part", delay=2) as bar:
        for title, draw in PICTURES.items():
            parts.append(section(title, side_by_side(runs, partial(draw, dpi=dpi), bar)))
        if evidence:
            parts.append(_estimated(runs, bar))
    for title, cell in WORDS.items():
        parts.append(section(title, side_by_side(runs, cell)))
    names = " and ".join(
        [", ".join(run.name for run in runs[:-1])] * (len(runs) > 1) + [runs[-1].name]
    )
    return page(f"Report on {names}", "\n".join(parts))


def side_by_side(runs: Sequence[Run], cell: Cell, bar: Any = None) -> str:
    """Return a part of each run, next to each other where the screen is wide.

    A part that a run cannot have is a sentence that says why.
    """
    made = []
    for run in runs:
        try:
            content = cell(run)
        except InputError as error:
            content = paragraphs([f"Not here: {error}."])
        heading = f"<h3>{escape(run.name)}</h3>" if len(runs) > 1 else ""
        made.append(f"<div>{heading}{content}</div>")
        if bar is not None:
            bar.update()
    return f'<div class="runs">{"".join(made)}</div>'


def _estimated(runs: Sequence[Run], bar: Any) -> str:
    """Return the quick estimates of all runs, of several their comparison, and the metrics of each."""
    found: dict[str, Candidate | InputError] = {}
    most = evidences.most_rows(runs)

    def estimate(run: Run) -> str:
        try:
            candidate = found[run.name] = evidences.quick(run, len(runs), most)
        except InputError as error:
            found[run.name] = error
            raise
        return evidences.in_words(run, candidate)

    words = side_by_side(runs, estimate, bar)
    compared = evidences.comparison(list(found.values())) if len(runs) > 1 else ""
    estimated = section("A quick estimate of the evidence", compared + words)

    def measure(run: Run) -> str:
        candidate = found[run.name]
        if isinstance(candidate, InputError):
            raise candidate
        return metrics.measured(candidate)

    title = "Metrics of samples and reconstructions"
    return estimated + section(title, side_by_side(runs, measure, bar))
