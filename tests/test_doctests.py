"""Every public docstring's example runs, in every module of the package."""

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest
import torch

import pyro_vae

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(pyro_vae.__path__, "pyro_vae.")
    if not module.name.endswith("__main__")
)


def test_the_mapped_folders_are_walked() -> None:
    assert {"pyro_vae.models.vae", "pyro_vae.inference.svi"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"torch": torch}, optionflags=doctest.ELLIPSIS)
    assert not result.failed
