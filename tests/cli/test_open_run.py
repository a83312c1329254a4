"""The folder of a run, opened in Python: its program and its data, and no code that nobody named."""

import json
import subprocess
import sys

import jsonargparse
import pytest
import torch
from refused import refused

from pyro_vae import fit, log_evidence, open_run, restore
from pyro_vae.data import DataSet, Split
from pyro_vae.models import FactorAnalysis

IN_A_NEW_PYTHON = """
import json, pyro_vae
program, data = pyro_vae.open_run("runs/vae")
evidence = pyro_vae.log_evidence(program, data.test, num_particles=20, seed=0)
print(json.dumps(evidence.to_dict()))
"""


@pytest.mark.slow
def test_a_new_python_has_the_evidence_of_the_command_line(call, vae):
    expected = json.loads(call("evidence runs/vae --num_particles 20 --json").out)
    run = [sys.executable, "-c", IN_A_NEW_PYTHON]
    found = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert json.loads(found) == expected


def test_the_data_are_as_the_run_had_them(vae):
    _, data = open_run(vae)
    assert isinstance(data, DataSet)
    assert (data.binarize, len(data.train), len(data.test)) == ("stochastic", 1397, 200)


def test_nothing_else_changes(vae):
    state, path = torch.get_rng_state(), list(sys.path)
    settings = dict(jsonargparse._common.parsing_settings)
    open_run(vae)
    assert torch.equal(torch.get_rng_state(), state)
    assert sys.path == path
    assert jsonargparse._common.parsing_settings == settings


def test_other_data_are_read_as_the_model_takes_them(here, call):
    assert call("fit --model FactorAnalysis --data table.csv --epochs 1 -o runs/table").code == 0
    (here / "new.csv").write_text("height,age\n180,30\n160,40\n")
    program, rows = open_run("runs/table", data="new.csv")
    assert isinstance(rows, Split)
    assert rows.column_names == ("age", "height")
    assert log_evidence(program, rows, num_particles=5, seed=0).num_units == 2
    (here / "table.csv").unlink()
    with refused("table.csv", remedy="pass others as data="):
        open_run("runs/table")
    assert len(open_run("runs/table", data="new.csv")[1]) == 2


class TestOwnCode:
    @pytest.fixture
    def own(self, here, made, monkeypatch):
        monkeypatch.syspath_prepend(here)
        assert made("fit --model my_model.MyVAE --data digits --epochs 1 --out runs/own").code == 0
        return "runs/own"

    def test_a_class_of_ones_own_is_passed(self, own):
        with refused("model", remedy="pass model=MyVAE"):
            open_run(own)
        from my_model import MyVAE, WithLabels

        assert type(open_run(own, model=MyVAE)[0]) is MyVAE
        with refused("model", remedy="pyro_vae.restore") as caught:
            open_run(own, model=WithLabels)
        assert "my_model.MyVAE" in str(caught.value)

    def test_a_part_of_ones_own_is_passed(self, here, call, monkeypatch):
        monkeypatch.syspath_prepend(here)
        (here / "my_parts.py").write_text(
            "from pyro_vae.priors import StandardNormal\nclass Mine(StandardNormal): pass\n"
        )
        words = (
            "fit --model VAE --model.prior my_parts.Mine --data digits --epochs 1 --out runs/own"
        )
        assert call(words).code == 0
        with refused("model.prior", remedy="pass parts=[Mine]"):
            open_run("runs/own")
        from my_parts import Mine

        assert type(open_run("runs/own", parts=[Mine])[0].prior) is Mine


def test_what_is_no_folder_of_the_command_line(here, vae):
    with refused("runs/vea", remedy="did you mean 'vae'?"):
        open_run("runs/vea")
    fit(FactorAnalysis((3,), 1), torch.randn(20, 3), epochs=1, out="runs/mine", progress=False)
    with refused("runs/mine", remedy='pyro_vae.restore(program, "runs/mine")'):
        open_run("runs/mine")
    assert restore(FactorAnalysis((3,), 1), "runs/mine")
    with refused("model", remedy="pass the class itself"):
        open_run(vae, model="VAE")
    with refused("parts"):
        open_run(vae, parts=["my_parts.Mine"])


def test_weights_of_a_run_of_the_command_line_in_a_program_built_here(vae):
    program, data = open_run(vae)
    for parameter in program.parameters():
        parameter.data += 1.0
    restore(program, vae)
    again, _ = open_run(vae)
    figures = [log_evidence(p, data.test, num_particles=5, seed=0).mean for p in (program, again)]
    assert figures[0] == figures[1]
