"""A picture of the ranks of true latents among their draws."""

import math

import numpy as np
from matplotlib.figure import Figure
from scipy.special import bdtr

from pyro_vae.inference.posterior.ranks import Calibration
from pyro_vae.plots.style import BLUE, GREY, RED, styled

BINS = 20
BAND = 0.99  # of a bin's count, if the draws are exact
MOST_PANELS = 9


@styled
def plot_ranks(calibration: Calibration) -> Figure:
    """Plot a histogram of the ranks of each number of the latents, up to nine, those that fail first.

    The band holds 99 % of a bin's counts where the draws are those of the posterior. Ranks that pile up at
    both ends show draws that are too narrow, in the middle too wide, at one end too low or too high.

    Args:
        calibration: of :func:`pyro_vae.calibrate`.

    >>> import torch
    >>> ranks = {"z": torch.randint(0, 100, (1000,))}
    >>> len(plot_ranks(Calibration(ranks, 99, "draws of the guide")).axes)
    1
    """
    names = sorted(calibration.ranks, key=calibration.p_values.__getitem__)[:MOST_PANELS]
    across = min(3, len(names))
    down = math.ceil(len(names) / across)
    figure = Figure((0.4 + 2.3 * across, 0.5 + 1.8 * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False, sharey=True).flat)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    edges = np.unique(np.round(np.linspace(0, calibration.num_draws + 1, BINS + 1)))
    shares = np.diff(edges) / (calibration.num_draws + 1)
    count, tail = calibration.num_data_sets, (1 - BAND) / 2
    below = bdtr(np.arange(count + 1)[:, None], count, shares)  # P(a bin's count <= row)
    low, high = ((below < q).sum(0) for q in (tail, 1 - tail))
    places = edges / (calibration.num_draws + 1)
    histograms = {n: np.histogram(calibration.ranks[n].cpu().numpy(), edges)[0] for n in names}
    top = 1.05 * max(high.max(), *(counts.max() for counts in histograms.values()))
    for axes, (name, counts) in zip(panels, histograms.items(), strict=False):
        verdict = calibration.verdicts[name]
        axes.fill_between(
            places, np.append(low, low[-1]), np.append(high, high[-1]),
            step="post", color=GREY, alpha=0.3, lw=0,
        )  # fmt: skip
        axes.stairs(counts, places, color=BLUE if verdict == "right" else RED, lw=1.3)
        axes.set_title(name if verdict == "right" else f"{name}: {verdict}", loc="left", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set(xlim=(0, 1), ylim=(0, top), xticks=[0, 0.5, 1])
    figure.supxlabel("rank of the true value among its draws", fontsize=9)
    figure.supylabel("data sets", fontsize=9)
    return figure
