"""The evidence of the runs of a report: from their folders, or from a quick estimate; compared."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyro_vae.errors import InputError, report_read_errors
from pyro_vae.inference.comparison.compare import candidate_of, compared, model_seed
from pyro_vae.inference.comparison.lineup import Candidate
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.report import html
from pyro_vae.notebook import table
from pyro_vae.page import paragraphs, wide
from pyro_vae.program.prior_guide import has_prior_as_guide
from pyro_vae.reports.runs import Run

NUM_PARTICLES, MOST_ROWS = 200, 500  # of a quick estimate
NUM_TEMPERATURES, NUM_CHAINS, MOST_ANNEALED = 50, 4, 100  # of one that anneals
PATTERN = "evidence*.json"
NO_EVIDENCE = (
    "No estimate of log p(x) is kept in the run's folder. `pyro-vae evidence {run} --out "
    "{run}/evidence.json` makes one."
)
NUMBERS = (
    "mean",
    "standard_error",
    "total",
    "sampling_error",
    "certificate_95",
    "upper",
    "bits_per_dimension",
    "largest_pareto_k",
    "units_without_error",
    "num_units",
    "num_particles",
)


def kept(run: Run) -> str:
    """Return the estimates that the run's folder holds, each as a table with its notes and warnings."""
    found = [_kept(path) for path in sorted(run.folder.folder.glob(PATTERN))]
    return "".join(found) or paragraphs([NO_EVIDENCE.format(run=run.folder.folder)])


def _kept(path: Path) -> str:
    with report_read_errors(path):
        figures = json.loads(path.read_text(encoding="utf-8"))
    if not _is_evidence(figures):
        raise InputError(
            f"{path} holds no estimate of an evidence",
            subject=str(path),
            expected="what `pyro-vae evidence --out evidence.json` writes",
        )
    caption = f"{path.name}: {figures['method']}"
    return wide(table(_rows(figures), (), caption, (*figures["notes"], *figures["warnings"])))


def _is_evidence(figures: Any) -> bool:
    return (
        isinstance(figures, Mapping)
        and all(_is_number(figures.get(name, "")) for name in NUMBERS)
        and figures["num_units"] is not None
        and isinstance(figures.get("method"), str)
        and all(
            isinstance(figures.get(name), list) and all(isinstance(x, str) for x in figures[name])
            for name in ("notes", "warnings")
        )
    )


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(value))


def _rows(figures: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the figures in words; null stands for a figure without a finite value."""
    error = figures["standard_error"]
    if figures["mean"] is None:
        yield "log p(x), mean of a unit", "none: see the warnings"
    else:
        spread = "± unknown" if error is None else f"± {error:.2g} (Monte-Carlo error)"
        yield "log p(x), mean of a unit", f"{figures['mean']:.3f} nats {spread}"
    if figures["total"] is not None:
        of = f"all {figures['num_units']:,} units together"
        yield f"log p(data), {of}", f"{figures['total']:.2f} nats"
    named = {
        "sampling_error": ("sampling error, of the data", "± {:.2g} nats"),
        "certificate_95": ("certified, with probability 95 %", "at least {:.3f} nats a unit"),
        "upper": ("upper figure", "{:.3f} nats a unit"),
        "bits_per_dimension": ("bits per dimension", "{:.4f}"),
        "largest_pareto_k": ("largest Pareto k", "{:.2f}"),
        "units_without_error": ("units whose figure a few weights decide", "{:,}"),
        "num_particles": ("K", "{:,}"),
    }
    for name, (title, shape) in named.items():
        if figures[name] is not None:
            yield title, shape.format(figures[name])


def most_rows(runs: Sequence[Run]) -> int:
    """Return how many rows all of the runs are weighed on, at most: fewer where one must be annealed."""
    is_annealed = any(has_prior_as_guide(run.trained.program) for run in runs)
    return MOST_ANNEALED if is_annealed else MOST_ROWS


def quick(run: Run, num_runs: int, most: int) -> Candidate:
    """Return an estimate of the evidence from few draws.

    It is of held-out rows, up to ``most`` that are drawn at random. Where all rows share latents, it is of
    the training rows together. A run without a guide, such as a GAN, is weighed by annealing from the
    prior.

    Raises:
        InputError: the run's data are not there, or the evidence cannot be estimated.
    """
    run.check_has_data()
    trained = run.trained
    settings = {
        "num_particles": NUM_PARTICLES,
        "seed": model_seed(trained.seed, run.name),
        "device": trained.device,
        "progress": False,
    }
    if has_prior_as_guide(trained.program):
        annealed = Annealed(NUM_TEMPERATURES, start="prior")
        settings |= {"method": annealed, "num_particles": NUM_CHAINS}
    rows = trained.split
    if len(rows) > most:
        rows = rows.subset(trained.random_rows(most).sort().values)
    found = candidate_of(run.name, None, (trained.program, rows), settings, 1 / num_runs)
    if found.evidence.unit is not None:
        return found
    pair = (trained.program, trained.data.train)
    return candidate_of(run.name, None, pair, settings, 1 / num_runs)


def in_words(run: Run, found: Candidate) -> str:
    """Return a quick estimate as a table, with its warnings."""
    evidence = found.evidence
    of = "training rows" if evidence.unit is None else f"{evidence.num_units:,} held-out rows"
    drawn = "annealed chains" if has_prior_as_guide(run.trained.program) else "draws"
    text = (
        f"A quick estimate from {evidence.num_particles} {drawn}, of {of}. "
        f"`pyro-vae evidence {run.folder.folder}` takes more."
    )
    return wide(html(evidence)) + paragraphs([text, *_scale_note(run)])


def _scale_note(run: Run) -> tuple[str, ...]:
    if run.trained.split.scale is None:
        return ()
    return (
        "The data were standardised for the fit: this is the density of the standardised values.",
    )


def comparison(candidates: Sequence[Candidate | InputError]) -> str:
    """Return the table of the comparison, or why the runs cannot be compared."""
    try:
        found = [_or_raise(candidate) for candidate in candidates]
        return wide(compared(found)._repr_html_())
    except InputError as error:
        return paragraphs(
            [f"The runs are not compared: {error.problem}. Their figures stand side by side only."]
        )


def _or_raise(candidate: Candidate | InputError) -> Candidate:
    if isinstance(candidate, InputError):
        raise candidate
    return candidate
