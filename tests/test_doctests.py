"""Every public docstring's example runs, in every module of the package."""

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest
import torch

MAPPED = ("pyro_vae.models", "pyro_vae.inference")  # folders beside pyro_vae in the source tree
MODULES = sorted(
    {  # each once: where they are links, pyro_vae leads to them, too
        module.name
        for package in ("pyro_vae", *MAPPED)
        for module in pkgutil.walk_packages(
            importlib.import_module(package).__path__, f"{package}."
        )
        if not module.name.endswith("__main__")
    }
)


def test_the_mapped_folders_are_walked() -> None:
    assert {"pyro_vae.models.vae", "pyro_vae.inference.svi.fit"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"torch": torch}, optionflags=doctest.ELLIPSIS)
    assert not result.failed
