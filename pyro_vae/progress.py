"""The bar that long calls draw: on standard error, or in a notebook's cell."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: float, progress: bool | None, unit: str, **options: Any) -> tqdm:
    """Return a bar, drawn where ``progress`` says so; by default in terminals and notebooks.

    Args:
        total: the units of work.
        progress: whether to draw it.
        unit: the name of one of them.
        options: further options of tqdm.
    """
    is_shown = in_notebook() or sys.stderr.isatty() if progress is None else progress
    bar = _bar_of_notebooks() if in_notebook() else tqdm
    return bar(
        total=total,
        disable=not is_shown,
        unit=f" {unit}",
        unit_scale=True,
        dynamic_ncols=True,
        **options,
    )


def in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this process, whose standard error is no terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _bar_of_notebooks() -> type[tqdm]:
    """Return tqdm's widget, or its bar of text where ipywidgets is not installed."""
    import warnings

    with warnings.catch_warnings():  # that ipywidgets is missing
        warnings.simplefilter("ignore")
        from tqdm.autonotebook import tqdm as bar
    return bar
