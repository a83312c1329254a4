"""Ctrl-C and SIGTERM as a request to stop after the step under way."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether a stop was asked for; a second signal acts at once.

    Outside the main thread, where Python delivers no signals, the answer is always no.
    """
    asked = False
    if threading.current_thread() is not threading.main_thread():
        yield lambda: asked
        return
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, ask)
    try:
        yield lambda: asked
    finally:
        restore()
