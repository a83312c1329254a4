"""Files that are there whole or not at all, and folders that one run has to itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pyro_vae.errors import InputError

try:
    import fcntl
except ImportError:  # Windows, where a folder is shared at one's own risk
    fcntl = None  # type: ignore[assignment]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path to write to, and puts that file in the place of ``path`` when the block ends.

    A reader, a crash or a kill never meets half of it; after an error nothing is left.

    :raises InputError: it cannot be written: the disk is full, say, or the folder read-only.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _sync_folder(path.parent)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_held: set[IO[str]] = set()  # the files that this process has locked


def _let_go() -> None:
    """In a child: a lock lasts as long as any process has the file open, and the run is not the child's."""
    for file in _held:
        os.close(file.fileno())
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Keeps other processes that ask likewise out of a folder, for as long as this one lives.

    :raises InputError: another process has it.
    """
    if fcntl is None:
        yield
        return
    lock = folder / ".lock"
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder} is in use by another run: wait for it, or choose another folder"
            ) from error
        _held.add(file)
        try:
            yield
        finally:
            _held.discard(file)
            lock.unlink(missing_ok=True)
