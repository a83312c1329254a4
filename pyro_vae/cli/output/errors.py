"""Errors as an exit code and a message: who made it, and what the user can do."""

import re
import signal
import sysconfig
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pyro_vae.errors import InputError, first_line
from pyro_vae.memory import available_memory, format_bytes


class Terminated(KeyboardInterrupt):
    """SIGTERM as an exception, so that a run can save its state."""


@contextmanager
def sigterm_as_exception() -> Iterator[None]:
    """Make SIGTERM raise :class:`Terminated` within the block, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(_: int, __: FrameType | None) -> None:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def describe(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the message of an error.

    >>> describe(FileNotFoundError(2, "No such file or directory", "table.csv"))
    (2, 'table.csv: No such file or directory')
    """
    if isinstance(error, KeyboardInterrupt):
        code, word = (143, "terminated") if isinstance(error, Terminated) else (130, "interrupted")
        return code, "\n".join([word, *getattr(error, "__notes__", ())])
    if isinstance(error, InputError):
        return 2, str(error)
    reason = first_line(error)
    if isinstance(error, OSError):
        return 2, f"{error.filename}: {error.strerror}" if error.filename else reason
    if "(os error" in reason:  # from safetensors, which is written in Rust
        return 2, reason
    if isinstance(error, MemoryError) or "out of memory" in reason or "allocate memory" in reason:
        if match := re.search(r"allocate (\d+) bytes", reason):  # torch's message is for developers
            needed, free = format_bytes(int(match[1])), format_bytes(available_memory())
            reason = f"{needed} are needed, {free} are free"
        return 2, f"not enough memory ({reason}): use a smaller batch or model"
    place = _place_in_user_code(error)
    if place is not None:
        return 2, f"{place}: {type(error).__name__}: {reason}"
    return 1, (
        f"{type(error).__name__}: {reason}\n"
        "this looks like a bug in pyro_vae; --debug shows the traceback"
    )


def _place_in_user_code(error: BaseException) -> str | None:
    """Return file and line of the innermost call in code that is neither pyro_vae's nor installed."""
    kinds = ("stdlib", "purelib", "platlib")
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in kinds}
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename).resolve()
        is_ours = frame.f_globals.get("__name__", "").split(".")[0] in ("pyro_vae", "__main__")
        if path.is_file() and not is_ours and not any(map(path.is_relative_to, installed)):
            place = f"{path.name}, line {line}"
    return place
