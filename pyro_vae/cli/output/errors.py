"""Errors as an exit code and a message: who made it, and what the user can do."""

import re
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pyro_vae.errors import InputError, first_line
from pyro_vae.memory import available_memory, format_bytes
from pyro_vae.user_code import program_line


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
    line = program_line(traceback.walk_tb(error.__traceback__))
    if line is not None and not line.is_ours:
        return 2, f"{line.place}: {type(error).__name__}: {reason}"
    return 1, (
        f"{type(error).__name__}: {reason}\n"
        "this looks like a bug in pyro_vae; --debug shows the traceback"
    )
