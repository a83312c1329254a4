"""`make gpu`, rehearsed without a GPU: every section runs, tiny, and each fails alone."""

import json
import subprocess
import sys
import time
from pathlib import Path

import gpu
import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_a_dry_run_fills_every_table(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--dry", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {"card", "date", "torch"} < found.keys()
    assert found["sections"].keys() == gpu.SECONDS.keys()
    assert all(section["rows"] and not section["problem"] for section in found["sections"].values())
    page = (tmp_path / "gpu.md").read_text()
    assert page.startswith("# none (a dry run on the CPU), ")
    for name in gpu.SECONDS:
        assert f"## {name}\n\n| " in page


def test_its_sections_take_no_more_than_eight_minutes() -> None:
    assert sum(gpu.SECONDS.values()) <= 8 * 60 - 20


def test_a_section_that_takes_too_long_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    late = tmp_path / "late"
    child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(late)!r}).touch()"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert gpu.bounded([sys.executable, "-c", program], 0.5) == "stopped after 0.5 s"
    time.sleep(2.5)
    assert not late.exists()


def test_a_section_fails_alone_and_keeps_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpu.bounded([sys.executable, "-c", "raise SystemExit(3)"], 60) == "ended with code 3"

    def write_rows(name: str, file: Path, dry: bool) -> None:
        file.write_text(json.dumps({"what": name}) + "\n")
        if name == "steps":
            raise RuntimeError("no kernel")

    monkeypatch.setattr(gpu, "write_rows", write_rows)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--dry", "--out", str(tmp_path)])
    monkeypatch.setattr(gpu, "find_packages", lambda: None)
    assert gpu.main() == 1
    sections = json.loads((tmp_path / "gpu.json").read_text())["sections"]
    assert all(section["rows"] == [{"what": name}] for name, section in sections.items())
    problems = {name: section["problem"] for name, section in sections.items()}
    assert problems == dict.fromkeys(gpu.SECONDS, "") | {"steps": "RuntimeError: no kernel"}
    assert "not all of it: RuntimeError: no kernel." in (tmp_path / "gpu.md").read_text()
