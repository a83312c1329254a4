"""An attribute of another library that is replaced for some threads, for a while."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class ThreadPatch:
    """Replace an attribute of a module or class, as the threads inside :meth:`active` see it.

    The others see the original, and so does everybody once no thread is inside, also after an error.

    Args:
        make: returns the replacement, given the original. It acts as that where :attr:`is_active` is False.
    """

    def __init__(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        self.owner, self.name, self.make = owner, name, make
        self._lock, self._local = threading.Lock(), threading.local()
        self._count = 0
        self._original: Any = None
        self._replacement: Any = None

    @property
    def is_active(self) -> bool:
        """Return whether this thread is inside."""
        return getattr(self._local, "depth", 0) > 0

    @contextmanager
    def active(self) -> Iterator[None]:
        self._enter()
        try:
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        with self._lock:
            if self._count == 0:
                self._original = vars(self.owner)[self.name]
                self._replacement = self.make(self._original)
                setattr(self.owner, self.name, self._replacement)
            self._count += 1
            self._local.depth = getattr(self._local, "depth", 0) + 1

    def _leave(self) -> None:
        with self._lock:
            self._local.depth -= 1
            self._count -= 1
            # who has set the attribute meanwhile keeps their value
            if self._count == 0 and vars(self.owner).get(self.name) is self._replacement:
                setattr(self.owner, self.name, self._original)
