"""The house: which room imports which, where users look, and how many files one step of a verb enters."""

import ast
import graphlib
import importlib
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType

import pytest
import torch

import pyro_vae
from pyro_vae import fit, log_evidence
from pyro_vae.inference.evidence.estimate import _Estimation
from pyro_vae.inference.svi.step import Step
from pyro_vae.models import VAE

ROOT = Path(__file__).parent.parent
HOME = Path(pyro_vae.__file__).parent
FOLDERS = {"pyro_vae": "pyro_vae", "pyro_vae.models": "models", "pyro_vae.inference": "inference"}
TOP = {
    "pyro_vae",
    "pyro_vae.__main__",
    "pyro_vae.cli",
    "pyro_vae.reports",
    "pyro_vae.sklearn",
    "pyro_vae.testing",
}  # these may import everything
ALLOWED = {  # of inference's rooms, each imports the ground floor and these
    "svi": {"objectives", "compiling", "checks"},
    "evidence": {"annealing", "objectives", "compiling", "checks"},
    "posterior": {"evidence", "annealing", "compiling", "checks"},
    "comparison": {"evidence", "posterior"},
    "latent_space": {"evidence", "posterior"},
    "scoring": {"evidence", "objectives", "checks"},
    "synthesis": {"evidence"},
    "parameters": {"posterior", "evidence", "annealing", "compiling"},
    "annealing": {"compiling", "checks"},
    "objectives": set(),
    "compiling": set(),
    "checks": set(),
}


def files() -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in (ROOT / folder).rglob("*.py"):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if folder == "pyro_vae" and parts[0] in ("models", "inference"):  # links
                continue
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = files()


def imports(path: Path, at_run_time: bool = False) -> Iterator[str]:
    """Our modules that a module imports, wherever in it; or only what it needs to be imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(tree.body) if at_run_time else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner in MODULES else node.module


def room(module: str) -> str:
    """The folder that a module lies in; a loose module of the ground floor is its own."""
    parts = module.split(".")
    depth = 3 if parts[1:2] == ["inference"] else 2
    return ".".join(parts[:depth])


@cache
def arrows() -> set[tuple[str, str]]:
    """Which room imports which other; to read all files takes seconds, which no collection needs."""
    every = {(room(one), room(other)) for one, path in MODULES.items() for other in imports(path)}
    return {(one, other) for one, other in every if one != other}


def test_imports_run_from_the_top_to_the_ground_floor() -> None:
    for one, other in sorted(arrows()):
        if one in TOP:
            continue
        assert other not in TOP - {"pyro_vae"}, f"{one} imports {other}"
        if one == "pyro_vae.models":
            assert not other.startswith("pyro_vae.inference"), f"{one} imports {other}"
        elif one.startswith("pyro_vae.inference"):
            assert other != "pyro_vae.models", f"{one} imports {other}"
        else:
            assert not other.startswith(("pyro_vae.inference", "pyro_vae.models")), (
                f"{one}, on the ground floor, imports {other}"
            )


def test_rooms_of_inference_import_only_what_they_may() -> None:
    for one, other in sorted(arrows()):
        if one.count(".") == 2 and other.startswith("pyro_vae.inference."):
            room_of_one, room_of_other = one.split(".")[2], other.split(".")[2]
            assert room_of_other in ALLOWED[room_of_one], f"{one} imports {other}"


def test_the_diagram_of_the_house_shows_these_rules() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    shown = dict.fromkeys(ALLOWED, frozenset[str]())
    for one, others in re.findall(r"^ +(\w+) --> ([\w &]+)$", page, re.M):
        if one in ALLOWED:
            shown[one] = frozenset(others.split(" & "))
    assert shown == ALLOWED


def test_there_are_no_circles() -> None:
    """Neither of rooms nor of modules."""
    rooms: dict[str, set[str]] = {}
    for one, other in arrows():
        if one not in TOP and other != "pyro_vae":  # its names are imported on first use
            rooms.setdefault(one, set()).add(other)
    graphlib.TopologicalSorter(rooms).prepare()
    modules = {
        one: {other for other in imports(path, at_run_time=True) if other != one}
        for one, path in MODULES.items()
    }
    graphlib.TopologicalSorter(modules).prepare()


def test_the_page_on_the_design_names_every_room() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    for package, folder in FOLDERS.items():
        for path in (ROOT / folder).iterdir():
            if path.is_dir() and not path.is_symlink() and path.name != "__pycache__":
                assert re.search(rf"\b{path.name}/", page), f"{package}: {path.name}/"


@pytest.mark.parametrize("name", ["pyro_vae", "pyro_vae.inference"])
def test_a_face_hands_out_what_it_names(name) -> None:
    face = importlib.import_module(name)
    tree = ast.parse(Path(face.__file__).read_text(encoding="utf-8"))
    typed = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.If)
        for line in node.body
        for alias in line.names
    }
    assert typed == set(face.__all__) <= set(dir(face))
    for exported in face.__all__:
        assert getattr(getattr(face, exported), "__name__", exported) in (exported, "Callable")
    with pytest.raises(AttributeError, match=f"{name!r} has no attribute 'nothing'"):
        _ = face.nothing


def test_docs_and_examples_import_from_faces() -> None:
    """Never from a file that may move."""
    faces = {"pyro_vae.testing", "pyro_vae.inference.objectives", "pyro_vae.item_models"}
    faces |= {
        name for name, path in MODULES.items() if path.name == "__init__.py" and name.count(".") < 2
    }
    faces |= {"pyro_vae.sklearn"}  # named after what it serves, like an extension
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*.py")]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for module in re.findall(r"^(?:from|import) (pyro_vae[\w.]*)", text, re.M):
            assert module in faces, f"{page.name} imports from {module}"
        assert not re.search(r"`pyro_vae\.\w+\.\w+\.\w+", text), page.name


# --- what a reader opens ------------------------------------------------------------------------------

PARTS = {"models", "priors", "guides", "likelihoods", "networks", "distributions", "links.py"}
ASIDE = PARTS | {"checks"}  # each tile is checked, too, which a reader of the estimate can skip


def entered(start: CodeType, which: int, work: Callable[[], object]) -> set[str]:
    """The files that one call of a function enters, without the parts of the model and the checks."""
    names, depth, calls = set[str](), 0, 0

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal depth, calls
        if event == "call":
            if frame.f_code is start:
                depth, calls = depth + 1, calls + 1
            path = Path(frame.f_code.co_filename)
            if depth and calls == which and path.is_relative_to(HOME):
                file = path.relative_to(HOME)
                if not ASIDE & set(file.parts):
                    names.add(str(file))
        elif event == "return" and frame.f_code is start:
            depth -= 1

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return names


@pytest.mark.parametrize(
    ("most", "start", "work"),
    [
        (8, Step.__call__, lambda vae, x: fit(vae, x, epochs=3, compile="off", progress=False)),
        (16, _Estimation._estimate, lambda vae, x: log_evidence(vae, x, num_particles=20, seed=0)),
    ],
    ids=["a batch to its loss", "a tile to its weights"],
)
def test_a_reader_opens_few_files(most, start, work) -> None:
    x = torch.bernoulli(torch.full((600, 8), 0.5))
    names = entered(start.__code__, 3, lambda: work(VAE((8,), 2), x))
    assert 0 < len(names) <= most, "\n".join(sorted(names))
