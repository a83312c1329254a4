"""The pictures of a run: learning curve, plate diagram, samples, reconstructions."""

from collections.abc import Sequence

from pyro_vae import plots
from pyro_vae.cli.graph import drawable
from pyro_vae.cli.reconstruct import picture as reconstructions_picture
from pyro_vae.cli.reconstruct import reconstruct
from pyro_vae.cli.sample import draw
from pyro_vae.cli.sample import picture as samples_picture
from pyro_vae.graph import render_model
from pyro_vae.inference.svi.fit_result import monitored_figure
from pyro_vae.inference.svi.run_storage import Metrics
from pyro_vae.page import DPI, diagram, paragraphs, picture
from pyro_vae.reports.runs import Run

MOST_IMAGES = 36  # of samples
MANY_RUNS, SMALL_DPI = 3, 90  # with more runs the pictures are smaller, for the size of the page


def dpi_for(num_runs: int) -> int:
    """Return the resolution of the pictures of so many runs."""
    return DPI if num_runs <= MANY_RUNS else SMALL_DPI


def curve(run: Run, dpi: int) -> str:
    """Return the learning curve."""
    if not run.metrics:
        return paragraphs(["The fit has not finished an epoch, so there is no curve."])
    unit = "data set" if run.record is not None and run.record.is_joint else _kind(run)
    drawn = plots.learning_curve(run.metrics, unit)
    return picture(drawn, _curve_in_words(run.metrics, run.best_epoch), dpi)


def _curve_in_words(metrics: Sequence[Metrics], best_epoch: int | None) -> str:
    name, first = monitored_figure(metrics[0])
    last = monitored_figure(metrics[-1])[1]
    title = name.replace("_", " ").replace("elbo", "ELBO")
    best = f"; the best epoch is {best_epoch:,}" if best_epoch else ""
    return (
        f"Learning curve: the {title} goes from {first:.2f} to {last:.2f} nats in "
        f"{metrics[-1]['epoch']:,} epochs{best}"
    )


def plates(run: Run, dpi: int) -> str:
    """Return the plate diagram of model and guide, with its warnings."""
    program, rows = drawable(run.folder)
    graph = render_model(program, data=rows)
    return diagram(graph.svg) + paragraphs(graph.warnings)


def samples(run: Run, dpi: int) -> str:
    """Return draws from the model: images, or the columns of a table beside the data's."""
    are_images = _kind(run) == "image"
    drawn, _ = draw(run.trained, MOST_IMAGES if are_images else None)
    if are_images:
        alt = f"{MOST_IMAGES} images that the model of {run.name} draws, each the mean of p(x | z)"
    else:
        alt = f"The distribution of each column in draws of the model of {run.name} and in the data"
    return picture(samples_picture(run.trained, drawn), alt, dpi)


def reconstructions(run: Run, dpi: int) -> str:
    """Return held-out data and their reconstructions."""
    run.check_has_data()
    rows, data, made = reconstruct(run.trained)
    kind = _kind(run)
    alt = f"{len(rows)} held-out {kind}s and their reconstructions by {run.name}"
    return picture(reconstructions_picture(run.trained, data, made), alt, dpi)


def _kind(run: Run) -> str:
    return "image" if len(run.trained.data.event_shape) == 3 else "row"
