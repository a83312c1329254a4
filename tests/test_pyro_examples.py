"""The benchmark of Pyro's examples finds what is wrong; on programs of our own in their places."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro_cases import trial
from pyro_cases.case import Case
from pyro_cases.source import Source
from pyro_cases.trial import try_out

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "pyro_examples.py"
MODULE = """
import no_such_package.of_plots
import pyro, torch
import pyro.distributions as dist

def model(y):
    mean = pyro.sample("mean", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    with pyro.plate("observations", len(y)):
        pyro.sample("obs", dist.Normal(mean, 1.0).to_event(1), obs=y)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder as Pyro's repository: one example, one notebook."""
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "lkj.py").write_text(MODULE)
    cells = ["%matplotlib inline\nimport pyro", "def f():\n    return 1", "x = f(); y = g()"]
    notebook = {"cells": [{"cell_type": "code", "source": [cell]} for cell in cells]}
    (tmp_path / "book.ipynb").write_text(json.dumps(notebook))
    return tmp_path


def test_the_table_has_a_row_for_each_program_that_is_there(checkout: Path) -> None:
    page = checkout / "page.md"
    run = [sys.executable, str(BENCHMARK), str(checkout), "--out", str(page)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line for line in page.read_text().splitlines() if line.startswith("| examples/")]
    assert len(rows) == 1
    file, name, fitted, loss, _, edges = [cell.strip() for cell in rows[0].strip("|").split("|")]
    assert (file, name, fitted, edges) == ("examples/lkj.py", "LKJ", "graph", "1")
    assert loss == "="
    assert "WRONG" not in done.stdout


def test_a_notebook_gives_its_definitions(checkout: Path) -> None:
    space = Source(checkout).notebook("book.ipynb", z=2)
    assert (space.f(), space.z, hasattr(space, "x")) == (1, 2, False)
    assert Source(checkout).notebook("book.ipynb", "x", "g", g=int).x == 1


def rows_case() -> Case:
    pyro.clear_param_store()

    def model(x: torch.Tensor) -> None:
        w = pyro.sample("weight", dist.Normal(8.5, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("seen", dist.Normal(w, 0.75), obs=x)

    def guide(x: torch.Tensor) -> None:
        pyro.sample("weight", dist.Normal(pyro.param("a", torch.tensor(9.0)), 0.4))

    return Case("rows", (model, guide), (torch.tensor([9.5, 9.0, 8.7]),), rows=True)


def test_what_agrees_is_not_called_wrong() -> None:
    result = try_out(rows_case())
    assert result.wrong == []
    assert result.loss == "="
    assert result.diagram == "1"


@pytest.mark.parametrize("verb", ["fit", "log_evidence", "render_model"])
def test_a_crash_is_a_fault(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise KeyError("a")

    monkeypatch.setattr(trial, verb, broken)
    assert any("KeyError" in sentence for sentence in try_out(rows_case()).wrong)


def test_another_loss_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    real = trial.fit

    def shifted(*args: Any, **options: Any) -> Any:
        done = real(*args, **options)
        done.metrics[0]["train_elbo"] += 1.0
        return done

    monkeypatch.setattr(trial, "fit", shifted)
    result = try_out(rows_case())
    assert result.loss.startswith("**")
    assert len(result.wrong) == 1


def test_another_evidence_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program that is weighed here observes with another noise than the one that Pyro weighs."""
    other = rows_case()

    def model(x: torch.Tensor) -> None:
        w = pyro.sample("weight", dist.Normal(8.5, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("seen", dist.Normal(w, 3.0), obs=x)

    real = trial.log_evidence

    def of_another(program: Any, *args: Any, **options: Any) -> Any:
        return real((model, program[1]), *args, **options)

    monkeypatch.setattr(trial, "log_evidence", of_another)
    assert any("evidence" in sentence for sentence in try_out(other).wrong)


def test_an_edge_that_is_not_there_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    real = trial.render_model

    def without_edges(*args: Any, **options: Any) -> Any:
        drawn = real(*args, **options)
        object.__setattr__(drawn.model, "edges", ())
        return drawn

    monkeypatch.setattr(trial, "render_model", without_edges)
    result = try_out(rows_case())
    assert [s for s in result.wrong if "weight -> seen" in s]
