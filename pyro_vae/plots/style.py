"""The style that all plots share, and how a figure is written."""

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_vae.errors import InputError
from pyro_vae.storage import atomic_write

BLUE, RED, GREY = "#4477AA", "#EE6677", "#8A8A8A"
MUTED = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#BBBBBB",
)  # fmt: skip
ENDINGS = (".png", ".pdf", ".svg")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.linewidth": 0.8,
    "pdf.fonttype": 42,
}

P = ParamSpec("P")


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Apply ``STYLE`` while a function draws."""

    @functools.wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    return styled


def save(figure: Figure, path: Path | str) -> None:
    """Write a figure in the format of the path's ending, completely or not at all.

    Raises:
        InputError: the ending is not .png, .pdf or .svg, or the file cannot be written.

    >>> save(Figure(), "a.bmp")
    Traceback (most recent call last):
    pyro_vae.errors.InputError: there is no format for 'a.bmp'; expected the ending .png, .pdf or .svg
    """
    path = Path(path)
    check_ending(path)
    kind = path.suffix.lower()[1:]
    undated = {"png": {}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    style = matplotlib.rc_context({**STYLE, "svg.hashsalt": "pyro_vae"})
    with atomic_write(path) as unfinished, style, warnings.catch_warnings():
        # matplotlib draws an empty box for a character that the font lacks, and warns twice
        warnings.filterwarnings("ignore", r"Glyph .* missing from font")
        figure.savefig(unfinished, format=kind, dpi=200, metadata=undated)


def check_ending(path: Path | str) -> None:
    """Check that :func:`save` can write a file of that name.

    Raises:
        InputError: the ending is not .png, .pdf or .svg.
    """
    name = Path(path).name
    if Path(path).suffix.lower() not in ENDINGS:
        problem = f"there is no format for {name!r}"
        raise InputError(problem, subject=name, expected="the ending .png, .pdf or .svg")


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of a size in inches, with one pair of axes."""
    figure = Figure((width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
