"""How much each item of a questionnaire tells of a trait, and all of them together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.plots.style import BLUE, GREY, MUTED, styled

BAND = (3, 97)  # percentiles, over draws
MOST_NAMES = len(MUTED)  # items that have a colour each

Values = np.ndarray[Any, Any]


@styled
def item_information(z: Tensor, information: Tensor, names: Sequence[str] | None = None) -> Figure:
    """Plot the information curves of items, and below their sum, that of the test.

    The broken line is the standard error of an estimate of the trait from all answers, I(z)^(-1/2), at the
    right. Of several draws of the items the means are drawn, and for the test the band that holds 94 %.

    Args:
        z: traits, ``T |``.
        information: of each item there, ``T, X |``, as :meth:`pyro_vae.item_models.Item.information` has
            it; or ``draws, T, X |``.
        names: of the items.

    Raises:
        InputError: the shapes do not fit.

    >>> z = torch.linspace(-3, 3, 7)
    >>> len(item_information(z, torch.rand(7, 4)).axes)
    3
    """
    curves = information.detach().cpu().numpy()
    traits = z.detach().cpu().reshape(-1).numpy()
    curves = curves[None] if curves.ndim == 2 else curves
    if curves.ndim != 3 or curves.shape[1] != len(traits):
        raise InputError(
            f"the information has shape {tuple(information.shape)}, and there are {len(traits):,} traits",
            subject="information",
            expected=f"({len(traits)}, items), or draws of that",
        )
    if names is not None and len(names) != curves.shape[2]:
        raise InputError(
            f"there are {len(names):,} names for {curves.shape[2]:,} items", subject="names"
        )
    figure = Figure((4.8, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    _draw_items(upper, traits, curves.mean(0), names)
    _draw_test(lower, traits, curves.sum(-1))
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylim(bottom=0)
        axes.set_xlim(traits.min(), traits.max())
    return figure


def _draw_items(axes: Axes, z: Values, curves: Values, names: Sequence[str] | None) -> None:
    """Draw a curve for each item; those of many items have one colour and no names."""
    count = curves.shape[1]
    names = [f"item {i}" for i in range(count)] if names is None else names
    for i, curve in enumerate(curves.T):
        colour = MUTED[i] if count <= MOST_NAMES else BLUE
        axes.plot(z, curve, color=colour, lw=1.3 if count <= MOST_NAMES else 0.8, label=names[i])
    if count <= MOST_NAMES:
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    axes.set_ylabel("information of an item")


def _draw_test(axes: Axes, z: Values, totals: Values) -> None:
    """Draw the information of the test, (draws, T), and the error of an estimate."""
    mean = totals.mean(0)
    if len(totals) > 1:
        axes.fill_between(z, *np.percentile(totals, BAND, 0), color=BLUE, alpha=0.2, lw=0)
    axes.plot(z, mean, color=BLUE, lw=1.6, label="information of the test")
    axes.set(xlabel="trait $z$", ylabel="information of the test")
    right = axes.twinx()
    right.plot(z, 1 / np.sqrt(mean), color=GREY, lw=1.2, ls=(0, (4, 2)), label="standard error")
    right.set_ylabel("standard error of $z$", color=GREY)
    right.set_ylim(bottom=0)
    right.tick_params(colors=GREY)
    right.spines[["top", "left"]].set_visible(False)
    right.spines["right"].set_color(GREY)
