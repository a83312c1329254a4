"""Ctrl-C and SIGTERM, put off until the step under way has been saved."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def deferred_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that says whether a stop was asked for.

    When the block ends, the signal goes to its former handler: Ctrl-C is then a KeyboardInterrupt as ever.
    A second signal does not wait. Outside the main thread, where Python delivers no signals, the answer is
    always no.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    current = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers = {n: h for n, h in current.items() if h not in (signal.SIG_IGN, None)}

    def restore() -> None:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def receive(number: int, _: FrameType | None) -> None:
        received.append(number)
        restore()

    for number in handlers:
        signal.signal(number, receive)
    try:
        yield lambda: bool(received)
    finally:
        restore()
    if received:
        signal.raise_signal(received[0])
