"""torchvision imports beside any build of torch, and nothing is declared where it need not be."""

import subprocess
import sys

import pytest


def _run(code: str) -> str:
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return out.stdout.strip()


@pytest.mark.slow
def test_it_imports_and_works_whatever_torch_it_was_built_for() -> None:
    code = """
import torch
from pyro_vae._torchvision import torchvision
vision = torchvision()
assert torchvision() is vision
print(vision.utils.make_grid(torch.zeros(4, 1, 8, 8)).shape[0], hasattr(vision.datasets, "MNIST"))
"""
    assert _run(code) == "3 True"


def test_nothing_is_declared_where_the_import_succeeds() -> None:
    code = """
import sys, types
sys.modules["torchvision"] = types.ModuleType("torchvision")
from pyro_vae import _torchvision
_torchvision.torchvision()
print(_torchvision._libraries)
"""
    assert _run(code) == "[]"


def test_other_failures_are_not_hidden() -> None:
    code = """
import sys
sys.modules["torchvision"] = None
from pyro_vae._torchvision import torchvision
try:
    torchvision()
except ValueError as error:
    print(type(error).__name__, str(error)[:20])
"""
    assert _run(code) == "InputError this needs torchvisi"
