import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pyro
import pytest

from pyro_vae.graph import Graph

Sketch = tuple[dict[str, str], dict[str, str], dict[str, int]]


@pytest.fixture(autouse=True)
def empty_store() -> Iterator[None]:
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


@pytest.fixture(scope="session")
def gallery() -> ModuleType:
    path = Path(__file__).parents[2] / "examples" / "gallery.py"
    spec = importlib.util.spec_from_file_location("gallery", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sketch() -> Callable[[Graph], Sketch]:
    """A graph in a few words: nodes (with @plates) by kind, parents by child, sizes by plate."""

    def sketched(graph: Graph) -> Sketch:
        nodes: dict[str, list[str]] = {}
        for node in graph.nodes:
            where = "@" + "+".join(node.plates) if node.plates else ""
            nodes.setdefault(node.kind, []).append(node.name + where)
        parents: dict[str, list[str]] = {}
        for edge in graph.edges:
            parents.setdefault(edge.target, []).append(edge.source)
        return (
            {kind: " ".join(sorted(names)) for kind, names in nodes.items()},
            {target: " ".join(sorted(sources)) for target, sources in parents.items()},
            {plate.name: plate.size for plate in graph.plates},
        )

    return sketched
