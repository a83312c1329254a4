"""The figures of one GPU, in at most eight minutes, by the other benchmarks of this folder.

Each section runs in a process of its own and has its own share of the time. One that fails or takes too
long leaves what it has so far, and the script goes on and says so. It writes gpu.json and gpu.md, with the
card's name and the date.

    make gpu [PYTHON=python3] [OUT=build/gpu]

It needs a Python with torch for CUDA, and these small packages, installed or as wheels in ``build/wheels``
(``make wheels`` fetches them where there is a network): see NEEDED. ``--dry`` rehearses everything on the
CPU, tiny, in one process, and without Inductor.
"""

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
WHEELS, PACKAGES = ROOT / "build" / "wheels", ROOT / "build" / "packages"
NEEDED = {  # modules, and the packages that hold them
    "pyro": "pyro-ppl",
    "pyroapi": "pyro-api",
    "opt_einsum": "opt-einsum",
    "zuko": "zuko",
    "safetensors": "safetensors",
    "tqdm": "tqdm",
    "pytest": "pytest",
    "pluggy": "pluggy",
    "iniconfig": "iniconfig",
    "packaging": "packaging",
    "pygments": "pygments",
    "hypothesis": "hypothesis",
    "sortedcontainers": "sortedcontainers",
}
SECONDS = {  # at most, of each section with its start; the rest of eight minutes starts the script
    "tests": 70,
    "steps": 190,
    "epoch": 50,
    "evidence": 60,
    "annealing": 50,
    "waits": 40,
}
Row = dict[str, Any]


@dataclass
class Section:
    """What became of a section: its rows, and why it ended early, if it did."""

    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    problem: str = ""


def bounded(command: list[str], seconds: float) -> str:
    """Run a command, and end it and all that it started after so many seconds; what went wrong, or "".

    Its output goes to the terminal.
    """
    process = subprocess.Popen(command, start_new_session=True)
    try:
        code = process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"stopped after {seconds:g} s"
    return f"ended with code {code}" if code else ""


def run_section(name: str, out: Path, dry: bool) -> Section:
    """Run a section in a process of its own, or here in a dry run."""
    file, started = out / f"{name}.jsonl", time.monotonic()
    file.unlink(missing_ok=True)
    print(f"\n{name}: at most {SECONDS[name]} s", flush=True)
    if dry:
        problem = ""
        try:
            write_rows(name, file, dry)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
    else:
        command = [sys.executable, __file__, "--section", name, "--out", str(out)]
        problem = bounded(command, SECONDS[name])
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if problem:
        print(f"{name}: {problem}; going on", flush=True)
    return Section(rows, round(time.monotonic() - started, 1), problem)


def write_rows(name: str, file: Path, dry: bool) -> None:
    """Write each row of a section as soon as it is known."""
    import gpu_sections  # imports torch and pyro_vae

    rows: Iterator[Row] = getattr(gpu_sections, name)(dry)
    with file.open("w") as lines:
        for row in rows:
            print("  " + ", ".join(f"{key}: {value}" for key, value in row.items()), flush=True)
            lines.write(json.dumps(row) + "\n")
            lines.flush()


def machine() -> dict[str, str]:
    """The card, the date, and the versions that count."""
    import platform

    import pyro
    import torch

    has_gpu = torch.cuda.is_available()
    return {
        "card": torch.cuda.get_device_name() if has_gpu else "none (a dry run on the CPU)",
        "date": time.strftime("%d %B %Y", time.gmtime()),
        "torch": torch.__version__,
        "CUDA": torch.version.cuda or "none",
        "Pyro": pyro.__version__,
        "Python": platform.python_version(),
    }


def markdown(about: dict[str, str], sections: dict[str, Section]) -> str:
    """The tables, one for each section."""
    facts = ", ".join(
        f"{key} {value}" for key, value in about.items() if key not in ("card", "date")
    )
    lines = [f"# {about['card']}, {about['date']}", "", f"By `make gpu`. {facts}."]
    for name, section in sections.items():
        lines += ["", f"## {name}", ""]
        if section.rows:
            columns = list(dict.fromkeys(key for row in section.rows for key in row))
            lines += [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
            lines += [
                f"| {' | '.join(str(row.get(c, '')) for c in columns)} |" for row in section.rows
            ]
            lines.append("")
        took = f"{section.seconds:.0f} s"
        lines.append(
            f"{took}; not all of it: {section.problem}." if section.problem else f"{took}."
        )
    return "\n".join(lines) + "\n"


def find_packages() -> None:
    """Let Python find this repository and, if they are missing, the packages among the wheels."""
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(PACKAGES)]
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [*sys.path[:3], *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    missing = [package for name, package in NEEDED.items() if not importlib.util.find_spec(name)]
    if missing and WHEELS.is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
        command += ["--find-links", str(WHEELS), "--target", str(PACKAGES)]
        for package in missing:  # one that is missing leaves out the sections that need it
            subprocess.run([*command, package], check=False)
        importlib.invalidate_caches()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu")
    parser.add_argument("--dry", action="store_true", help="on the CPU, tiny, without Inductor")
    parser.add_argument("--needed", action="store_true", help="name the packages, and no more")
    parser.add_argument("--section", choices=list(SECONDS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.needed:
        print(*NEEDED.values())
        return 0
    find_packages()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.section:
        write_rows(args.section, args.out / f"{args.section}.jsonl", dry=False)
        return 0
    import torch

    if not args.dry and not torch.cuda.is_available():
        print("This torch sees no GPU; --dry rehearses on the CPU.")
        return 2
    about = machine()
    sections: dict[str, Section] = {}
    for name in SECONDS:
        sections[name] = run_section(name, args.out, args.dry)
        whole = {**about, "sections": {n: asdict(section) for n, section in sections.items()}}
        (args.out / "gpu.json").write_text(json.dumps(whole, indent=1) + "\n")
        (args.out / "gpu.md").write_text(markdown(about, sections))
    print(f"\n{args.out / 'gpu.md'}")
    return 1 if any(section.problem for section in sections.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
