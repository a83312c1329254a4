"""A class that has only a model, on the command line."""

import json

import pytest

from pyro_vae.cli.run.folder import open_run

GROUPS = """
import pyro
import pyro.distributions as dist


class Groups:
    def model(self, x):
        mean = pyro.sample("mean", dist.Normal(40.0, 30.0))
        with pyro.plate("people", len(x), dim=-2):
            size = pyro.sample("size", dist.Normal(mean, 10.0))
            with pyro.plate("columns", 2, dim=-1):
                pyro.sample("x", dist.Normal(size, 20.0), obs=x)
"""


@pytest.fixture
def groups(here, made):
    (here / "groups.py").write_text(GROUPS)
    asked = made("fit --model groups.Groups --data table.csv --epochs 20 --out runs/groups")
    assert asked.code == 0, asked.err
    return "runs/groups --model groups.Groups"


def test_every_verb_takes_the_run_of_a_model_alone(here, call, groups):
    for verb in ("evidence", "sample", "graph"):
        outcome = call(verb, groups, "--split train" if verb == "evidence" else "")
        assert outcome.code == 0, outcome.err
    assert call("graph", groups, "--out g.json").code == 0
    guide = json.loads((here / "g.json").read_text())["guide"]
    assert {"mean", "size"} <= {node["name"] for node in guide["nodes"]}
    assert call("evidence", groups, "--data table.csv --num_particles 5").code == 0


def test_a_run_of_a_model_alone_is_resumed(here, call, groups):
    assert call("fit --resume", groups, "--epochs 25").code == 0
    assert (
        open_run(here / "runs/groups", ["--model", "groups.Groups"]).saved[1]["position"]["epoch"]
        == 25
    )


def test_what_is_no_model(call):
    call("fit --model my_model.NoProgram --data digits").refuses("NoProgram", "`.model`")


@pytest.mark.slow
def test_steps_restarts_and_means(here, call):
    (here / "groups.py").write_text(GROUPS)
    fit = "fit --model groups.Groups --data table.csv"
    asked = call(fit, "--steps 12 --restarts 2 --averaging 0.5 --out runs/few")
    assert asked.code == 0, asked.err
    assert "2 restarts: ELBO" in asked.out
    assert "to tell whether the" in asked.err or "levelled" in asked.err or "rising" in asked.err
    run = "runs/few --model groups.Groups"
    assert call("evidence", run, "--split train --num_particles 5").code == 0
    longer = call("fit --resume", run, "--steps 20 --restarts 3")
    assert longer.code == 0, longer.err
    position = open_run(here / "runs/few", ["--model", "groups.Groups"]).saved[1]["position"]
    assert position["epoch"] == 20
    assert call("fit --resume", run, "--epochs 30").code == 2  # steps or epochs
