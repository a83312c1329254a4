"""One thread at a time: Pyro has a single handler stack, store and set of flags in a process."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

_LOCK = threading.RLock()
P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def one_thread() -> Iterator[None]:
    """Wait until no other thread fits or evaluates a program, and keep others waiting.

    Two runs of Pyro at once would see each other's handlers (``pyro.poutine.runtime._PYRO_STACK`` is a
    plain list), and each would restore generators and validation flags while the other uses them.
    """
    with _LOCK:
        yield


def _renew() -> None:
    """Start with a free lock in a forked process, whose other threads are gone."""
    global _LOCK
    _LOCK = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def in_one_thread(
    make: Callable[P, AbstractContextManager[T]],
) -> Callable[P, AbstractContextManager[T]]:
    """Let a context manager be entered by one thread at a time; that thread may nest it."""

    @wraps(make)
    @contextmanager
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        with one_thread(), make(*args, **kwargs) as value:
            yield value

    return guarded
