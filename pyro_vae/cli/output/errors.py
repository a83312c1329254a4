"""What went wrong, in one sentence, and whose turn it is to put it right."""

import re
import signal
import sysconfig
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pyro_vae.errors import InputError
from pyro_vae.memory import available, in_words


class Terminated(KeyboardInterrupt):
    """SIGTERM as an exception, so that what is under way is left in good order."""


@contextmanager
def terminated_by_exception() -> Iterator[None]:
    """Within the block SIGTERM raises :class:`Terminated`, in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(_: int, __: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def describe(error: BaseException) -> tuple[int, str]:
    """The exit code of an error and the words for it.

    >>> describe(FileNotFoundError(2, "No such file or directory", "table.csv"))
    (2, 'table.csv: No such file or directory')
    """
    if isinstance(error, KeyboardInterrupt):
        code, word = (143, "terminated") if isinstance(error, Terminated) else (130, "interrupted")
        return code, "\n".join([word, *getattr(error, "__notes__", ())])
    if isinstance(error, InputError):
        return 2, str(error)
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    if isinstance(error, OSError):
        return 2, f"{error.filename}: {error.strerror}" if error.filename else reason
    if "(os error" in reason:  # as safetensors, written in another language, words them
        return 2, reason
    if isinstance(error, MemoryError) or "out of memory" in reason or "allocate memory" in reason:
        if match := re.search(r"allocate (\d+) bytes", reason):  # torch's words are for its authors
            reason = f"{in_words(int(match[1]))} are asked for, {in_words(available())} are free"
        return 2, f"not enough memory ({reason}); a smaller batch or model needs less"
    place = _in_code_of_the_user(error)
    if place is not None:
        return 2, f"{place}: {type(error).__name__}: {reason}"
    return 1, (
        f"{type(error).__name__}: {reason}\n"
        "this looks like a bug in pyro_vae; --debug shows the traceback"
    )


def _in_code_of_the_user(error: BaseException) -> str | None:
    """The file and line of the innermost call in code that is neither ours nor installed."""
    kinds = ("stdlib", "purelib", "platlib")
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in kinds}
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename).resolve()
        ours = frame.f_globals.get("__name__", "").split(".")[0] in ("pyro_vae", "__main__")
        if path.is_file() and not ours and not any(map(path.is_relative_to, installed)):
            place = f"{path.name}, line {line}"
    return place
