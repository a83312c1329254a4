"""The bar that long calls draw on standard error."""

import sys
from typing import Any

from tqdm import tqdm


def progress_bar(total: float, progress: bool | None, unit: str, **options: Any) -> tqdm:
    """Return a bar, drawn where ``progress`` says so; by default where standard error is a terminal.

    Args:
        total: the units of work.
        progress: whether to draw it.
        unit: the name of one of them.
        options: further options of tqdm.
    """
    is_shown = sys.stderr.isatty() if progress is None else progress
    return tqdm(
        total=total,
        disable=not is_shown,
        unit=f" {unit}",
        unit_scale=True,
        dynamic_ncols=True,
        **options,
    )
