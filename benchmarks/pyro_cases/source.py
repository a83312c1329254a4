"""A checkout of Pyro: its example modules and the definitions in its tutorials' notebooks."""

import ast
import contextlib
import importlib.util
import io
import json
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


class Source:
    """Loads from a checkout. What plots, logs or downloads need not be installed: a mock stands in."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def commit(self) -> str:
        """The checkout's commit; "unknown" where it is no repository of its own."""
        run = ["git", "-C", str(self.path), "rev-parse", "--show-toplevel", "HEAD"]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        top, _, commit = done.stdout.strip().partition("\n")
        return commit if top and Path(top) == self.path.resolve() else "unknown"

    def has(self, file: str) -> bool:
        return (self.path / file).exists()

    def module(self, file: str) -> types.ModuleType:
        """The module in a file, with its folder to import from."""
        path = self.path / file
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module, execute = importlib.util.module_from_spec(spec), spec.loader.exec_module
        with self.importing(path.parent):
            sys.modules[path.stem] = module
            with_mocks(lambda: execute(module))
        return module

    def notebook(self, file: str, *values: str, upto: int | None = None, **given: Any) -> Any:
        """The functions and classes in a notebook, the last of each name, with ``given`` as globals.

        :param values: names whose plain assignments are wanted, too.
        :param upto: the number of the last cell that counts.
        """
        space = types.ModuleType(Path(file).stem)
        space.__dict__.update(smoke_test=True, **given)
        cells = json.loads((self.path / file).read_text())["cells"][
            : None if upto is None else upto + 1
        ]
        with self.importing(self.path):
            sys.modules[space.__name__] = space
            for cell in cells:
                for statement in statements(cell, values):
                    code = compile(ast.Module([statement], []), file, "exec")
                    with_mocks(lambda code=code: exec(code, space.__dict__))  # type: ignore[misc]
        return space

    @contextlib.contextmanager
    def importing(self, folder: Path) -> Iterator[None]:
        """Imports from a folder of the checkout, whose modules are forgotten afterwards; in silence."""
        known = set(sys.modules)
        sys.path[:0] = [str(folder), str(self.path)]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        finally:
            del sys.path[:2]
            for name in set(sys.modules) - known:
                file = getattr(sys.modules[name], "__file__", None)
                if isinstance(file, str) and self.path in Path(file).parents:
                    del sys.modules[name]


def statements(cell: dict[str, Any], values: tuple[str, ...]) -> Iterator[ast.stmt]:
    """Imports, definitions and wanted assignments of a cell; lines for IPython are left out."""
    if cell["cell_type"] != "code":
        return
    lines = "".join(cell["source"]).splitlines()
    plain = ["pass" if line.lstrip().startswith(("%", "!")) else line for line in lines]
    with contextlib.suppress(SyntaxError):  # a cell that is IPython's throughout
        for statement in ast.parse("\n".join(plain)).body:
            names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)} & set(values)
            assigned = isinstance(statement, ast.Assign | ast.AnnAssign) and any(
                isinstance(n, ast.Name) and n.id in names and isinstance(n.ctx, ast.Store)
                for n in ast.walk(statement)
            )
            if isinstance(statement, DEFINITIONS) or assigned:
                yield statement


def with_mocks(load: Callable[[], None]) -> None:
    """Loads something again and again, with a mock for each package that is missing."""
    while True:
        try:
            return load()
        except ModuleNotFoundError as missing:
            if missing.name is None or missing.name in sys.modules:
                raise
            sys.modules[missing.name] = MagicMock()
