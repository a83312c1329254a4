"""Files there whole or not at all; a folder with one owner."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pyro_vae import InputError
from pyro_vae.storage import atomic_write, folder_lock


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


def test_a_disk_that_takes_no_more_is_said_with_the_path(tmp_path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*a.txt: No space left"):
        with atomic_write(tmp_path / "a.txt") as unfinished:
            unfinished.write_text("half")
            raise OSError(28, "No space left on device")
    assert not list(tmp_path.iterdir())


def test_a_folder_has_one_owner_at_a_time(tmp_path) -> None:
    with folder_lock(tmp_path):
        with pytest.raises(InputError, match="in use by another run"):
            with folder_lock(tmp_path):
                pass
    with folder_lock(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


OWNER = """
import os, signal, sys, time
from pathlib import Path
from pyro_vae.storage import sole_use

with sole_use(Path(sys.argv[1])):
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
        said = {owner.stdout.readline(), owner.stdout.readline()}
        (worker,) = map(int, said - {b"ready\n"})
    try:
        with pytest.raises(InputError, match="in use by another run"):
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
