"""Which line of a program is the user's own: the one that a message shows."""

import linecache
import os
import sys
import sysconfig
import textwrap
import traceback
from collections.abc import Iterable
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

Calls = Iterable[tuple[FrameType, int]]  # frames with their lines, the outermost call first

INSTALLED = {"site-packages", "dist-packages"}  # folders
LIBRARIES = ("torch", "pyro", "numpy", "zuko")  # also where they are not installed: a checkout
PROGRAMS = {  # rooms of pyro_vae that hold what a user's program may consist of
    *("models", "networks", "distributions", "priors", "guides", "likelihoods", "flows"),
    *("sequences", "item_models"),
}


class Line(NamedTuple):
    """Name a line of a program; ``str`` shows it with its code, where that is known."""

    file: str
    number: int
    is_ours: bool  # in a model, or a part of one, that comes with pyro_vae

    @property
    def place(self) -> str:
        return f"line {self.number} of {Path(self.file).name}"

    def __str__(self) -> str:
        code = textwrap.shorten(linecache.getline(self.file, self.number), 80)
        return f"{self.place}: `{code}`" if code else self.place  # a notebook's cell may have none


def program_line(calls: Calls) -> Line | None:
    """Return the innermost line of the user's own code.

    Where there is none, as of a program of ours, it is that of a model or a part of pyro_vae. Libraries and
    the rest of pyro_vae are nobody's program.

    Args:
        calls: frames and lines within the program's call, as ``traceback.walk_tb`` gives them.
    """
    lines = [
        Line(frame.f_code.co_filename, number, _is_of_pyro_vae(frame))
        for frame, number in calls
        if _is_of_program(frame)
    ]
    return max(reversed(lines), key=lambda line: not line.is_ours, default=None)


def calls_within(function: CodeType) -> Calls:
    """Return the current calls within the innermost one of a function."""
    inner = takewhile(
        lambda call: call[0].f_code is not function, traceback.walk_stack(sys._getframe(1))
    )
    return reversed(list(inner))


def _is_of_pyro_vae(frame: FrameType) -> bool:
    return _module(frame)[0] == "pyro_vae"


def _module(frame: FrameType) -> list[str]:
    return str(frame.f_globals.get("__name__", "")).split(".")


def _is_of_program(frame: FrameType) -> bool:
    package, *rooms = _module(frame)
    if package == "pyro_vae":
        return bool(PROGRAMS.intersection(rooms[:1]))
    file = frame.f_code.co_filename
    if file.startswith("<"):  # generated code, a prompt or a notebook's cell
        return package == "__main__"
    return not _is_installed(file)


@lru_cache
def _is_installed(file: str) -> bool:
    """Return whether a file belongs to Python or an installed package, wherever a folder's name says so."""
    path = Path(os.path.realpath(file))
    loaded = (getattr(sys.modules.get(name), "__file__", None) for name in LIBRARIES)
    folders = [Path(os.path.realpath(source)).parent for source in loaded if source]
    folders += [
        Path(os.path.realpath(sysconfig.get_path(kind))) for kind in ("stdlib", "platstdlib")
    ]
    return bool(INSTALLED.intersection(path.parts)) or any(map(path.is_relative_to, folders))
