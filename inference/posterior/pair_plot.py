"""A picture of the draws of several numbers, each against each."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_vae.errors import InputError
from pyro_vae.inference.posterior.predictive import spread_evenly
from pyro_vae.inference.posterior.result import Posterior
from pyro_vae.plots.style import BLUE, GREY, styled

MOST = 6  # numbers
MOST_POINTS = 1_000


@styled
def plot_pairs(posterior: Posterior, sites: Sequence[str] | None = None) -> Figure:
    """Plot the draws of up to six numbers of the latents, each against each.

    Points below the diagonal, histograms on it, correlations above. By default the numbers are the first
    six of the latents that all rows share, or of all latents where they share none.

    Args:
        posterior: of :func:`pyro_vae.posterior`.
        sites: the latents to draw.

    Raises:
        InputError: there is no such latent, or fewer than two numbers.

    >>> from pyro_vae import posterior
    >>> from pyro_vae.models import FactorAnalysis
    >>> found = posterior(FactorAnalysis((3,), 2), torch.randn(1, 3), num_draws=50)
    >>> len(plot_pairs(found).axes)
    4
    """
    numbers = _numbers(posterior, sites)
    count = len(numbers)
    figure = Figure((0.5 + 1.35 * count, 0.4 + 1.25 * count), layout="constrained")
    grid = figure.subplots(count, count, squeeze=False, sharex="col")
    for i, (row_name, row) in enumerate(numbers):
        for j, (column_name, column) in enumerate(numbers):
            axes = grid[i, j]
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=7)
            if i == j:
                axes.hist(column, bins=30, color=BLUE, alpha=0.75)
                axes.spines["left"].set_visible(False)
                axes.set_yticks([])
            elif j < i:
                axes.plot(column, row, ".", ms=2, mew=0, color=BLUE, alpha=0.45)
            else:
                _write_correlation(axes, float(np.corrcoef(column, row)[0, 1]))
            if i == count - 1:
                axes.set_xlabel(column_name, fontsize=8)
            if j == 0:
                axes.set_ylabel(row_name, fontsize=8)
            if 0 < j < i:
                axes.set_yticklabels([])
    return figure


def _numbers(
    posterior: Posterior, sites: Sequence[str] | None
) -> list[tuple[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]]:
    """Return the names and draws of the numbers to show."""
    from pyro_vae.inference.posterior.rows import Rows

    names = sites
    if names is None:
        numeric = [name for name in posterior.particles if name not in posterior.categories]
        shared = [name for name in Rows.of(posterior).shared if name in numeric]
        names = shared or numeric
    labels = posterior.summary(list(names)).rows[:MOST]
    chosen = spread_evenly(posterior.num_draws, min(MOST_POINTS, posterior.num_draws))
    columns = [
        column
        for name in names
        for column in posterior.draws[name][chosen].reshape(len(chosen), -1).T.double().numpy()
    ]
    numbers = list(zip(labels, columns, strict=False))
    if len(numbers) < 2:
        raise InputError(
            "there are fewer than two numbers, and so no pair",
            subject="sites",
            expected="latents with two numbers or more together",
            remedy="take plot_intervals",
        )
    return numbers


def _write_correlation(axes: Axes, value: float) -> None:
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(bottom=False, labelbottom=False)
    axes.text(
        0.5, 0.5, f"{value:.2f}", transform=axes.transAxes, ha="center", va="center",
        color=GREY, fontsize=8 + 4 * abs(value),
    )  # fmt: skip
