"""The wheel is what users get: built from the sdist, installed alone, every module imported."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

IMPORT_ALL = """
import importlib, pathlib, pkgutil, pyro_vae
home = pathlib.Path(pyro_vae.__file__).parent
names = [m.name for m in pkgutil.walk_packages(pyro_vae.__path__, "pyro_vae.")]
for name in names:
    if not name.endswith("__main__"):
        module = importlib.import_module(name)
        assert pathlib.Path(module.__file__).is_relative_to(home), module.__file__
assert (home / "py.typed").exists()
print(len(names))
"""


def modules_in_the_tree() -> int:
    folders = [(ROOT / "pyro_vae", 1), (ROOT / "models", 0), (ROOT / "inference", 0)]
    files = sum(len([*folder.rglob("*.py")]) for folder, _ in folders)
    return files - 1  # pyro_vae/__init__.py itself


@pytest.fixture(scope="module")
def clean_environment(tmp_path_factory) -> Path:
    """A fresh environment that holds the wheel, and sees this one's dependencies but not the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    # in a copy: setuptools writes into the tree, where another worker may build at the same time
    hidden = shutil.ignore_patterns(".*", "build", "dist", "runs", "*.egg-info", "__pycache__")
    tree = shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=hidden)
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(tree)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    # a path line in a .pth file does not run that folder's own .pth files: no editable install
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    return folder / "env" / "bin"


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_imports_outside_the_tree(clean_environment, tmp_path) -> None:
    count = run([str(clean_environment / "python"), "-c", IMPORT_ALL], tmp_path)
    assert int(count) == modules_in_the_tree()


def test_nothing_else_is_installed(clean_environment) -> None:
    (site,) = clean_environment.parent.glob("lib/python*/site-packages")
    ours = {p.name for p in site.iterdir()} - {"dependencies.pth"}
    assert {name for name in ours if "pyro_vae-" not in name} == {"pyro_vae"}


@pytest.mark.parametrize("command", [["pyro-vae"], ["python", "-m", "pyro_vae"]])
def test_the_console_script_runs(clean_environment, tmp_path, command) -> None:
    help_text = run([str(clean_environment / command[0]), *command[1:], "--help"], tmp_path)
    for verb in ("fit", "evidence", "sample", "reconstruct", "data", "demo"):
        assert verb in help_text
