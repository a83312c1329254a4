"""Files that are written completely or not at all; a folder with one owner."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from refused import refused

from pyro_vae import storage
from pyro_vae.storage import atomic_write, folder_lock, write_text


def test_an_error_in_the_middle_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as unfinished:
        unfinished.write_text("half")
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"
    with atomic_write(path) as unfinished:
        unfinished.write_text("new")
    assert path.read_text() == "new"


def test_a_disk_that_takes_no_more_is_lines_with_the_path(tmp_path) -> None:
    with refused(str(tmp_path / "a.txt")) as caught:
        with atomic_write(tmp_path / "a.txt") as unfinished:
            unfinished.write_text("half")
            raise OSError(28, "No space left on device")
    assert "No space left" in str(caught.value)
    assert not list(tmp_path.iterdir())


def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse what Windows refuses: to open a folder, and to sync a file that is open for reading alone."""
    fcntl = pytest.importorskip("fcntl")
    open_, fsync = os.open, os.fsync

    def open_file(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return open_(path, flags, *args, **kwargs)

    def sync(handle: int) -> None:
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        fsync(handle)

    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(storage, "fcntl", None)


def test_files_and_folders_on_windows(tmp_path, monkeypatch) -> None:
    windows(monkeypatch)
    with folder_lock(tmp_path):
        for text in ("old", "new"):
            write_text(tmp_path / "a.txt", f"{text}\n")
            assert (tmp_path / "a.txt").read_bytes() == f"{text}\n".encode()
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_that_cannot_be_synced_does_not_undo_a_write(tmp_path, monkeypatch) -> None:
    fsync = os.fsync

    def sync(handle: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{handle}"):
            raise OSError(22, "Invalid argument")  # as some network file systems say
        fsync(handle)

    monkeypatch.setattr(os, "fsync", sync)
    write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_folder_has_one_owner_at_a_time(tmp_path) -> None:
    with folder_lock(tmp_path):
        with refused(str(tmp_path), remedy="another folder"):
            with folder_lock(tmp_path):
                pass
    with folder_lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


OWNER = r"""
import os, signal, sys, time
from pathlib import Path
from pyro_vae.storage import folder_lock

with folder_lock(Path(sys.argv[1])):
    worker = os.fork()
    if not worker:
        os.write(1, b"ready\n")  # in one piece; and it has let go of the lock
        os.close(1)
        time.sleep(60)
        os._exit(0)
    os.write(1, b"%d\n" % worker)
    time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows starts workers from nothing")
def test_a_lock_dies_with_its_run_though_a_worker_lives_on(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, tmp_path], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    with owner.stdout:
        lines = {owner.stdout.readline(), owner.stdout.readline()}
        (worker,) = map(int, lines - {b"ready\n"})
    try:
        with refused(str(tmp_path), remedy="another folder"):
            with folder_lock(tmp_path):
                pass
        owner.kill()
        owner.wait()
        os.kill(worker, 0)  # it is alive
        with folder_lock(tmp_path):
            pass
        assert not list(tmp_path.iterdir())
    finally:
        os.kill(worker, signal.SIGKILL)
