"""Runs command lines, each in a process of its own that starts warm, and says what they did and took.

``python trial.py`` reads from standard input a line of JSON for each: ``[folder, words]``.
"""

import gc
import json
import os
import resource
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401

from pyro_vae.cli import main

LIMIT = 6 * 2**30  # above what the start takes: a guard for the machine, not the criterion
SECONDS = int(os.environ.get("TRIAL_SECONDS", "60"))  # of the processor
PATIENCE = 10  # times as long a command may take on a busy machine, or asleep


def peak() -> int:
    """The most memory that this process has held since its last reset, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def held(kind: str = "VmRSS:") -> int:
    return 1024 * int(Path("/proc/self/status").read_text().split(kind)[1].split()[0])


def child(folder: str, words: list[str], report: int) -> None:
    os.chdir(folder)
    out, err = (
        os.open(f"../{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in ("out", "err")
    )
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
    Path("/proc/self/clear_refs").write_text("5")
    start = held()
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    if os.environ.get("TRIAL_LIMIT"):
        limit = held("VmData:") + LIMIT
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    code = 99
    with suppress(BaseException):
        code = main(words)
    with suppress(BaseException):
        sys.stdout.flush()
    with suppress(BaseException):
        sys.stderr.flush()
    os.write(report, json.dumps([code, peak() - start]).encode())
    os._exit(0)


def tried(folder: str, words: list[str]) -> list[int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        child(folder, words, writing)
    os.close(writing)
    end = time.monotonic() + PATIENCE * SECONDS
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            return [124, 0]
        time.sleep(0.01)
    with os.fdopen(reading, "rb") as file:
        text = file.read()
    return json.loads(text) if text else [137, 0]


def warm_up() -> None:
    """Imports what a run needs, by making one: 1,700 modules that each child would import again."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        with tempfile.TemporaryDirectory() as folder:
            run = str(Path(folder, "run"))
            for words in (
                f"fit --model VAE --data digits --epochs 1 --out {run}",
                f"evidence {run} --num_particles 5",
                f"sample {run} --num 4 --out {folder}/drawn.png",
            ):
                assert main(words.split()) == 0, words


if __name__ == "__main__":
    warm_up()
    gc.freeze()  # or each child's collector would copy what it shares with this process
    for line in sys.stdin:
        print(json.dumps(tried(*json.loads(line))), flush=True)
