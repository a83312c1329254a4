"""A picture of the intervals of the latents, a row for each number."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_vae.errors import InputError
from pyro_vae.inference.posterior.result import Posterior
from pyro_vae.inference.posterior.summary import PROBABILITY
from pyro_vae.plots.style import BLUE, GREY, styled

INNER = 0.5  # probability of the thick interval
MOST_ROWS = 40  # of a site
ROW, PANEL = 0.17, 0.55  # inches: of a row; around a panel


@styled
def plot_intervals(
    posterior: Posterior, sites: Sequence[str] | None = None, *, probability: float = PROBABILITY
) -> Figure:
    """Plot mean and intervals of every number of the latents: a forest, a panel for each site.

    The dot is the posterior mean, the thick line the shortest interval of 50 %, the thin one that of
    ``probability``. Of a site with more than 40 numbers the first are drawn. All come from the weights, as
    in :meth:`Posterior.summary`; figures that cannot be trusted are grey. Sites whose values are classes
    have no interval.

    Args:
        posterior: of :func:`pyro_vae.posterior`.
        sites: those to draw; by default all latents.
        probability: of the thin interval.

    Raises:
        InputError: there is no such latent, or none with intervals.

    >>> from pyro_vae import posterior
    >>> from pyro_vae.models import FactorAnalysis
    >>> found = posterior(FactorAnalysis((3,), 2), torch.randn(5, 3), num_draws=50)
    >>> len(plot_intervals(found).axes)
    1
    """
    names = [n for n in posterior.particles if n not in posterior.categories]
    names = names if sites is None else list(sites)
    if not names:
        raise InputError(
            "all latents are classes, which have no interval",
            subject="sites",
            remedy="take posterior.probabilities(site)",
        )
    tables = [
        (
            posterior.summary([name], probability=probability),
            posterior.summary([name], probability=INNER),
        )
        for name in names
    ]
    heights = [ROW * min(len(outer.rows), MOST_ROWS) + PANEL for outer, _ in tables]
    figure = Figure((4.6, sum(heights) + 0.25), layout="constrained")
    panels = figure.subplots(len(names), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, name, (outer, inner) in zip(panels, names, tables, strict=True):
        _draw(axes, name, outer, inner)
    says = f"posterior mean, {INNER:.0%} and {probability:.0%} intervals"
    if any(outer.warnings for outer, _ in tables):
        says += "; grey: not to be trusted"
    figure.supxlabel(says, fontsize=8, color=GREY)
    return figure


def _draw(axes: Axes, name: str, outer: Any, inner: Any) -> None:
    """Draw one site's numbers, the first on top."""
    rows = list(range(min(len(outer.rows), MOST_ROWS)))
    colours = [GREY if outer.doubtful[i] else BLUE for i in rows]
    for table, width in ((outer, 1.0), (inner, 2.6)):
        low, high = list(table.columns)[2:4]
        axes.hlines(
            rows,
            [table.columns[low][i] for i in rows],
            [table.columns[high][i] for i in rows],
            color=colours,
            lw=width,
        )
    means = [outer.columns["mean"][i] for i in rows]
    axes.scatter(means, rows, s=13, c="white", edgecolors=colours, linewidths=1.1, zorder=3)
    axes.set_yticks(rows, [outer.rows[i] for i in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    low, high = axes.get_xlim()
    if low < 0 < high:
        axes.axvline(0, color=GREY, lw=0.6, ls=(0, (4, 3)), zorder=0)
    if len(rows) < len(outer.rows):
        axes.set_title(
            f"{name}: the first {len(rows)} of {len(outer.rows):,}", fontsize=8, loc="left"
        )
