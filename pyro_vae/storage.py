"""Files that are written completely or not at all, and folders that one process has to itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pyro_vae.errors import InputError

try:
    import fcntl
except ImportError:  # Windows, where nothing keeps two runs out of one folder
    fcntl = None  # type: ignore[assignment]


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a path to write to, and rename that file to ``path`` when the block ends.

    No reader, crash or kill ever sees half a file. After an error the old file is there and no other.

    Raises:
        InputError: the file cannot be written: the disk is full or the folder read-only, for instance.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        yield unfinished
        with unfinished.open("r+b") as file:  # Windows syncs no file that is open for reading alone
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        problem = f"cannot write {path}: {error.strerror or error}"
        raise InputError(problem, subject=str(path)) from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power cut, where the system can: Windows opens no folder."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:  # some network file systems; the new file is complete and in its place
        pass
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write or replace a text file in one step, with the same bytes on every system."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="\n")


_locked: set[IO[str]] = set()  # the lock files of this process


def _close_locks() -> None:
    """Close a parent's locks in a child: a lock lasts as long as any process has the file open."""
    for file in _locked:
        os.close(file.fileno())
    _locked.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_locks)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep other processes with the same lock out of a folder, until the block or this process ends.

    Raises:
        InputError: another process has the lock.
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
                f"{folder} is in use by another run",
                subject=str(folder),
                remedy="wait for it, or choose another folder",
            ) from error
        _locked.add(file)
        try:
            yield
        finally:
            _locked.discard(file)
            lock.unlink(missing_ok=True)
