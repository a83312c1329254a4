"""The code in README and docs runs as it stands."""

import re
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).parent.parent
# all of them run by `make docs`
SLOW = (
    *("evidence.md", "posterior.md", "bayes_factors.md", "model_only.md", "own_model.md"),
    "reports.md",  # what it calls, tests/cli/test_report.py calls, too
    "metrics.md",  # in the suite with short fits
)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=[pytest.mark.slow] if p.name in SLOW else []) for p in PAGES],
    ids=lambda page: page.name,
)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(page)


def test_metrics_of_models_that_are_hardly_trained(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(ROOT / "docs" / "metrics.md", lambda code: re.sub(r"epochs=\d+", "epochs=1", code))


def run(page: Path, change: Callable[[str], str] = lambda code: code) -> None:
    matplotlib.use("Agg")
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    scope: dict[str, object] = {"__name__": page.stem}
    for block in blocks:
        exec(compile(change(block), page.name, "exec"), scope)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} points at {target}"
