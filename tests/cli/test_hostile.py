"""Whatever the bytes: exit code 2, at most six lines, at most a gigabyte, and nothing left behind."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hostile
import pytest

if not Path("/proc/self/clear_refs").exists():
    pytest.skip("how much memory a command took is asked of Linux", allow_module_level=True)

FIT = "fit --model VAE --epochs 1 --out runs/new --data"
RESUME = "fit --resume runs/vae --epochs 3"
EVIDENCE = "evidence runs/vae --num_particles 5"

Try = Callable[[list[str]], None]


@pytest.fixture(scope="module")
def trial() -> Iterator[subprocess.Popen[str]]:
    """A process that runs each command line in a child of its own."""
    program = [sys.executable, str(Path(__file__).with_name("trial.py"))]
    pipe, settings = subprocess.PIPE, {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(program, stdin=pipe, stdout=pipe, text=True, env=settings) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def refused(tmp_path: Path, trial: subprocess.Popen[str]) -> Try:
    folder = tmp_path / "here"
    folder.mkdir()

    def check(words: list[str]) -> None:
        def held() -> list[str]:
            return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))

        before = held()
        assert trial.stdin is not None
        assert trial.stdout is not None
        trial.stdin.write(json.dumps([str(folder), words]) + "\n")
        trial.stdin.flush()
        code, peak = json.loads(trial.stdout.readline())
        out, err = ((tmp_path / name).read_bytes().decode() for name in ("out", "err"))
        said = out + err
        assert code == 2, said[-2000:]
        assert "error: " in err
        assert len(said.splitlines()) <= 6, said
        assert not any(word in said for word in ("Traceback", "looks like a bug", "\x1b", "\a"))
        assert peak <= 2**30, f"{peak / 1e9:.1f} GB: {said}"
        assert held() == before

    return check


FILES = [*hostile.ARRAYS, *hostile.TABLES, *hostile.FOREIGN, *hostile.FOLDERS]


@pytest.mark.parametrize("name", FILES)
def test_files_of_data(name: str, tmp_path: Path, refused: Try) -> None:
    here = tmp_path / "here"
    refused([*FIT.split(), str(hostile.data_file(name, here).relative_to(here))])


@pytest.mark.parametrize("name", hostile.OF_H5AD)
def test_annotated_matrices(name: str, tmp_path: Path, refused: Try) -> None:
    pytest.importorskip("h5py")
    here = tmp_path / "here"
    refused([*FIT.split(), str(hostile.data_file(name, here).relative_to(here))])


@pytest.mark.parametrize("name", [*hostile.CONFIGS, *hostile.RECORDS])
def test_folders_of_runs(name: str, tmp_path: Path, fitted: Path, refused: Try) -> None:
    change: Any = {**hostile.CONFIGS, **hostile.RECORDS}[name]
    change(hostile.copied_run(fitted, tmp_path / "here"))
    refused(RESUME.split())


# Every verb opens a run in the same way: the suite has one of each kind of fault for a second verb
BY_ANOTHER_VERB = {
    *("a recursive mapping", "deep YAML", "an alias bomb", "an alias bomb in a string"),
    *(
        "a tag for an object",
        "a date",
        "keys that are lists",
        "no UTF-8",
        "50 MB of YAML",
        "nothing",
    ),
    *("a model that is a number", "an absurd width", "a seed of null", "data with a null byte"),
    *("a class for data", "a prior that is a number"),
}
OTHERS = [
    pytest.param(name, marks=[] if name in BY_ANOTHER_VERB else pytest.mark.slow)
    for name in hostile.CONFIGS
]


@pytest.mark.parametrize("name", OTHERS)
def test_folders_of_runs_by_another_verb(
    name: str, tmp_path: Path, fitted: Path, refused: Try
) -> None:
    hostile.CONFIGS[name](hostile.copied_run(fitted, tmp_path / "here"))
    refused(EVIDENCE.split())


@pytest.mark.parametrize("name", hostile.ABSURD)
def test_command_lines(name: str, tmp_path: Path, fitted: Path, refused: Try) -> None:
    hostile.copied_run(fitted, tmp_path / "here")
    hostile.images(tmp_path / "here" / "photos", hostile.picture(), good=9)
    refused([word.replace("RUN", "runs/vae") for word in hostile.ABSURD[name].split(" ")])


CHANGED = {
    "batch_size": 7,
    "seed": 1,
    "binarize": "none",
    "beta": 2.0,
    "clip_norm": 1.0,
    "model/init_args/latent_dim": 3,
    "model/init_args/likelihood/class_path": "pyro_vae.likelihoods.ContinuousBernoulli",
}


@pytest.mark.parametrize("key", CHANGED)
def test_an_edited_option_is_refused_by_its_name(key: str, call: Any, vae: Path) -> None:
    hostile.option(key, CHANGED[key])(vae)
    for verb in ("fit --resume runs/vae --epochs 3", "evidence runs/vae --num_particles 5"):
        outcome = call(verb)
        assert outcome.code == 2
        name = key.replace("/init_args", "").replace("/class_path", "").replace("/", ".")
        assert f"runs/vae was made with --{name} " in outcome.err
        assert "a run keeps its options, all but compile, data_root, " in outcome.err


ADAM = {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.01}}


@pytest.mark.parametrize(("key", "value"), [("epochs", 3), ("patience", 9), ("optimizer", ADAM)])
def test_what_may_change(key: str, value: Any, call: Any, vae: Path) -> None:
    hostile.option(key, value)(vae)
    assert call("fit --resume runs/vae --epochs 3").code == 0
    lines = (vae / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 3
    if key == "optimizer":
        assert json.loads(lines[-1])["learning_rate"] == 0.01


def test_a_member_beside_others_that_are_no_arrays_is_read(call: Any, here: Path) -> None:
    path = here / "x.npz"
    path.write_bytes(
        hostile.archive({"x/": b"", "y.txt": b"", "z.npy": hostile.array_bytes(hostile.ROWS)})
    )
    outcome = call("fit --model FactorAnalysis --epochs 1 --out runs/new --data x.npz")
    assert outcome.code == 0
    assert "16 train / 2 validation / 2 test rows of 3" in outcome.err
