"""The demo: its output, its files, and an earlier demo in its folder."""

import re

import pytest

from pyro_vae.cli.demo import FILES


@pytest.fixture
def demo(made):
    outcome = made("demo --epochs 2")
    assert outcome.code == 0, outcome.err
    return outcome


def test_it_reports_every_figure_and_leaves_every_file(here, demo):
    figures = dict(re.findall(r"^  ([\w()  ]+?)  +(-?[\d.]+)", demo.out, re.MULTILINE))
    assert figures.keys() >= {"ELBO", "log p(x)", "rate", "distortion", "active units"}
    elbo, evidence = float(figures["ELBO"]), float(figures["log p(x)"])
    assert elbo < evidence < 0
    assert elbo == pytest.approx(-float(figures["rate"]) - float(figures["distortion"]), abs=2e-3)
    assert "nats per image" in demo.out
    assert ("± unknown" in demo.out) == ("no error" in demo.out)  # and says why
    assert {path.name for path in (here / "runs/demo").iterdir()} == FILES.keys()


def test_what_it_suggests_works(call, demo):
    called = r"\S+(?: -m pyro_vae)?"
    suggested = re.findall(rf"^  {called} ((?:evidence|sample|fit) .*)$", demo.out, re.MULTILINE)
    assert len(suggested) >= 3
    for line in suggested:
        short = "--epochs 1" if line.startswith("fit") and "--help" not in line else ""
        assert call(line, short).code == 0


@pytest.mark.slow
def test_again_makes_it_again(here, call, demo):
    (here / "runs/demo/notes.txt").write_text("mine")
    outcome = call("demo --epochs 2")
    assert outcome.code == 0
    assert "replacing the demo in runs/demo" in outcome.err
    assert outcome.out == demo.out
    assert (here / "runs/demo/notes.txt").read_text() == "mine"


def test_a_longer_demo_stays(here, call, demo):
    before = (here / "runs/demo/checkpoint.safetensors").read_bytes()
    call("demo --epochs 1").refuses("runs/demo", "2 epochs", "--out")
    assert (here / "runs/demo/checkpoint.safetensors").read_bytes() == before


def test_another_run_stays(call, vae):
    call(f"demo --epochs 2 --out {vae}").refuses("runs/vae", "--resume")
