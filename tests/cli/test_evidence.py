"""``pyro-vae evidence`` beyond its defaults: methods, proposals, pictures, interruptions."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from processes import LOOPBACK, TWO_PROCESSES
from refused import refused
from stories import interrupt_after

from pyro_vae.cli.options.estimate import in_bytes
from pyro_vae.inference.evidence import tiles

pytestmark = pytest.mark.usefixtures("small_blocks")

FA = "fit --model FactorAnalysis --model.latent_dim 1 --data table.csv --batch_size 16"


@pytest.fixture
def factors(made):
    """A run whose evidence is known exactly; six rows are its test split."""
    assert made(FA, "--epochs 30 --out runs/fa").code == 0
    return Path("runs/fa")


@pytest.mark.slow
def test_every_method_comes_to_the_exact_evidence(call, factors):
    exact = json.loads(call("evidence runs/fa --method exact --split train --json").out)
    assert exact["is_exact"]
    for words in (
        "--method importance --num_particles 20000",
        "--method importance --num_particles 3000 --prior_share 0.2",
        "--num_particles 20000 --widen 1.2",
        "--num_particles 20000 --refine 20",
        "--method ais --num_temperatures 20 --start prior --num_leapfrog 5",
        "--method auto --num_particles 5000 --num_temperatures 20",
        "--method sandwich --num_temperatures 20",
    ):
        figures = json.loads(call(f"evidence runs/fa --split train --json {words}").out)
        assert abs(figures["mean"] - exact["mean"]) < 4 * figures["standard_error"] + 1e-4, words
    both = call("evidence runs/fa --split train --method bidirectional --num_temperatures 20").out
    assert "drawn from the model" in both
    assert "upper bound, in expectation" in both


def test_the_summary_says_how_the_guide_was_changed(call, factors):
    words = "--num_particles 100 --refine 5 --widen 1.2 --split train"
    outcome = call(f"evidence runs/fa {words}")
    method = " ".join(outcome.out.partition("method")[2].split())
    assert "the guide refined for each unit by 5 steps, widened by a factor of 1.2" in method
    assert "place" not in outcome.out


def test_a_method_that_the_model_has_not(call, vae):
    outcome = call("evidence runs/vae --method exact")
    assert outcome.code == 2
    assert "no method log_evidence, and it is not linear and Gaussian" in outcome.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--method sandwhich", "Did you mean 'sandwich'?"),
        ("--num_temperatures 50", "--num_temperatures; expected --method ais, auto, sandwich or"),
        ("--method ais --prior_share 0.1", "--prior_share; expected --method importance or auto"),
        ("--method exact --widen 2", "--widen; expected --method importance, ais, "),
        (
            "--method ais --start middle",
            "start must be one of 'guide', 'prior', 'laplace', not 'middle'",
        ),
        ("--method ais --num_temperatures 0", "num_temperatures must be at least 1, not 0"),
        ("--prior_share 1.5", "prior_share must be a number of at least 0 and below 1"),
        ("--widen 0", "must be a positive number"),
        ("--max_memory 2XB", "--max_memory is 2XB; expected a size such as 500MB"),
        ("--max_memory 0", "--max_memory is 0; expected a size"),
        ("--out evidence.bmp", "--out evidence.bmp has no ending"),
        ("--out none/evidence.png", "no folder none"),
        ("--out table.txt", "no ending"),
    ],
)
def test_wrong_options(call, vae, words, message):
    outcome = call(f"evidence runs/vae {words}")
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert not outcome.out


def test_sizes():
    assert in_bytes("1000") == in_bytes("1kB") == 1000
    assert in_bytes("0.5GiB") == 2**29
    with refused("--max_memory", expected="500MB"):
        in_bytes("-2GB")


def test_memory_changes_no_figure(call, vae):
    one = json.loads(call("evidence runs/vae --num_particles 50 --json").out)
    other = json.loads(call("evidence runs/vae --num_particles 50 --max_memory 1MB --json").out)
    assert one["mean"] == pytest.approx(other["mean"], abs=1e-6)


def test_a_picture_is_left_and_none_is_overwritten(call, vae):
    words = "evidence runs/vae --num_particles 30 --out evidence.png"
    assert call(words).code == 0
    assert Path("evidence.png").read_bytes().startswith(b"\x89PNG")
    again = call(words)
    assert again.code == 2
    assert "Choose another --out, or pass --overwrite" in again.err
    assert call(words, "--overwrite").code == 0


def test_interrupted_and_resumed(call, vae, monkeypatch):
    words = "evidence runs/vae --num_particles 60 --json"  # 200 images are four tiles
    whole = call(words).out
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        outcome = call(words)
    assert outcome.code == 130
    assert "interrupted; to go on:" in outcome.err
    assert outcome.err.rstrip().endswith("evidence runs/vae --num_particles 60 --json --resume")
    part = json.loads(outcome.out)
    assert part["num_units"] == 100
    assert f"{part['num_units']} of 200 units" in part["notes"][0]
    outcome = call(words)
    assert outcome.code == 2
    assert "--resume" in outcome.err
    assert call(words, "--resume").out == whole
    assert not list(vae.glob("*.part"))
    again = call(words, "--resume")
    assert again.out == whole
    assert "starts from the beginning" in again.err


def test_what_is_kept_of_other_parameters_is_refused(call, factors, monkeypatch):
    words = "evidence runs/fa --num_particles 60 --split train --json"
    monkeypatch.setitem(tiles.UNITS_PER_TILE, "cpu", (8, 8))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        assert call(words).code == 130
    (part,) = factors.glob("*.part")
    assert call(FA, "--epochs 30 --seed 1 --out runs/other").code == 0
    part.rename(Path("runs/other", part.name))
    outcome = call(words.replace("fa", "other"), "--resume")
    assert outcome.code == 2
    assert "is of another estimate" in outcome.err


@pytest.mark.slow
def test_ctrl_c_kill_and_torchrun_in_earnest(vae):
    """The processes themselves: SIGINT, SIGKILL, and two at once."""
    command = [sys.executable, "-m", "pyro_vae", "evidence", str(vae), "--num_particles"]

    def start(*words):
        return subprocess.Popen(
            [*command, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    started = time.monotonic()
    whole, _ = start("100000", "--json").communicate()
    seconds = time.monotonic() - started
    for sign, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        for share in (0.5, 0.6, 0.7, 0.8, 0.9):  # until one of four tiles is done, and not all
            process = start("100000", "--json")
            time.sleep(share * seconds)
            process.send_signal(sign)
            process.communicate(timeout=30)
            if list(vae.glob("*.part")):
                break
        assert process.returncode == code
        assert list(vae.glob("*.part"))
        resumed, _ = start("100000", "--json", "--resume").communicate()
        assert resumed == whole
    together = [sys.executable, *TWO_PROCESSES, *command[1:], "1000", "--json"]
    environment = {**os.environ, **LOOPBACK}
    done = subprocess.run(together, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    shared = done.stdout
    alone, _ = start("1000", "--json").communicate()
    one, other = (json.loads(text)["mean"] for text in (shared, alone))
    assert one == pytest.approx(other, abs=1e-6)


def test_arguments_of_torchrun_that_lead_nowhere(call, vae, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    outcome = call("evidence runs/vae --num_particles 5")
    assert outcome.code == 2
    assert "Start them by torchrun" in outcome.err
    assert not torch.distributed.is_initialized()
