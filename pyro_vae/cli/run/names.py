"""What several runs are called side by side."""

import os
from collections.abc import Sequence
from pathlib import Path

from pyro_vae.errors import InputError


def run_names(folders: Sequence[str]) -> dict[str, str]:
    """Return the name of each run by its folder: the folder's last part, or all of it where these agree.

    >>> run_names(["runs/a", "runs/b"]), run_names(["x/a", "y/a"])
    ({'runs/a': 'a', 'runs/b': 'b'}, {'x/a': 'x/a', 'y/a': 'y/a'})

    Raises:
        InputError: a run is there twice.
    """
    by_place = {os.path.realpath(folder): folder for folder in folders}
    if len(by_place) < len(folders):
        twice = next(f for f in folders if f not in by_place.values() or folders.count(f) > 1)
        raise InputError(f"{twice} is there twice", subject="run", remedy="name each run once")
    short = [Path(os.path.abspath(folder)).name for folder in folders]
    names = short if len(set(short)) == len(short) else list(folders)
    return dict(zip(folders, names, strict=True))
