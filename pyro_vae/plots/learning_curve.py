"""The learning curve of a fit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyro_vae.errors import InputError
from pyro_vae.plots.style import BLUE, GREY, new_figure, styled

Values = np.ndarray[Any, Any]


@styled
def learning_curve(metrics: Sequence[Mapping[str, Any]], unit: str = "datum") -> Figure:
    """Plot the objective per unit over epochs, in training and in validation; of a GAN, both sides' losses.

    Args:
        metrics: a record for each epoch, with ``epoch``, ``train_elbo`` and perhaps ``validation_elbo``
            (nats per unit; for other objectives ``train_bound`` or ``train_objective``, and so on) and
            ``beta`` (the weight of the KL term in training).
        unit: what a unit is called on the axis.

    Raises:
        InputError: there are no metrics.
    """
    if not metrics:
        problem = "there is no learning curve before the end of the first epoch"
        raise InputError(problem, subject="metrics", expected="a record for each epoch")
    figure, axes = new_figure(4.8, 3.0)
    if "discriminator_loss" in metrics[0]:
        _plot_game(axes, metrics)
        return figure
    trained, validated = (_figure_name(metrics[0], part) for part in ("train", "validation"))
    train = _figures(metrics, f"train_{trained}")
    held_out = _figures(metrics, f"validation_{validated}")
    marker = "o" if len(metrics) == 1 else None
    label = "training, KL weighted" if any(m.get("beta", 1) != 1 for m in metrics) else "training"
    if validated not in (None, trained):
        label = f"training ({trained})"
    axes.plot(*train, color=GREY, lw=1.2, marker=marker, ms=3, label=label)
    if held_out.size:
        axes.plot(*held_out, color=BLUE, lw=1.5, marker=marker, ms=3, label="validation")
        _mark_best(axes, *held_out)
    axes.set_ylim(_limits(train[1], held_out[1]))
    shown_name = (validated or trained or "").replace("elbo", "ELBO")
    axes.set_ylabel(f"{shown_name} (nats per {unit})")
    _finish(axes, metrics)
    return figure


def _plot_game(axes: Axes, metrics: Sequence[Mapping[str, Any]]) -> None:
    """Plot the losses of generator and discriminator, which no unit but the loss's own has."""
    marker = "o" if len(metrics) == 1 else None
    curves = {side: _figures(metrics, f"{side}_loss") for side in ("generator", "discriminator")}
    for (side, curve), color in zip(curves.items(), (BLUE, GREY), strict=True):
        axes.plot(*curve, color=color, lw=1.5, marker=marker, ms=3, label=side)
    axes.set_ylim(_limits(*(curve[1] for curve in curves.values())))
    axes.set_ylabel("loss")
    _finish(axes, metrics)


def _finish(axes: Axes, metrics: Sequence[Mapping[str, Any]]) -> None:
    axes.set_xlim(1, max(metrics[-1]["epoch"], 2))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(axis="y", color="#E6E6E6", lw=0.8)
    axes.legend(
        frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0, fontsize=8,
        handlelength=1.4, columnspacing=1.4,
    )  # fmt: skip


def _figure_name(metrics: Mapping[str, Any], part: str) -> str | None:
    """Return the name after ``part_`` in a record: "elbo" of ``train_elbo``."""
    found = (key.removeprefix(f"{part}_") for key in metrics if key.startswith(f"{part}_"))
    return next(found, None)


def _figures(metrics: Sequence[Mapping[str, Any]], key: str) -> Values:
    """Return the epochs that have a figure, and the figures, (2, epochs)."""
    known = [(m["epoch"], m[key]) for m in metrics if key in m]
    return np.array(known, dtype=float).reshape(-1, 2).T


def _mark_best(axes: Axes, epochs: Values, values: Values) -> None:
    best = int(values.argmax())
    label = f"best: {values[best]:.2f} at epoch {epochs[best]:.0f}".replace("-", "\N{MINUS SIGN}")
    axes.plot(
        epochs[best], values[best], "o", color=BLUE, ms=6, mec="white", label=label, clip_on=False
    )


def _limits(*curves: Values) -> tuple[float, float]:
    """Return the ends of the axis, without the first steps, which climb further than all that follow."""
    late = np.concatenate([curve[len(curve) // 20 :] for curve in curves])
    low, high = np.nanmin(late), np.nanmax(np.concatenate(curves))
    pad = 0.05 * (high - low) or 1.0
    return low - pad, high + pad
