"""Every example runs."""

import runpy
import sys
import warnings
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_it_runs(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setattr(sys, "argv", [str(example), "--smoke"])
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.simplefilter("error", UserWarning)
        runpy.run_path(str(example), run_name="__main__")
    assert capsys.readouterr().out.strip(), "an example prints what it is about"
