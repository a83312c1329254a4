"""Every model of pyro_vae, also with other parts, passes the checks of the contract."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from parts.parts import LIKELIHOODS
from shelf import SHELF
from torch import nn

import pyro_vae.models
from pyro_vae.program.prior_guide import with_prior_as_guide
from pyro_vae.testing import check_program

# checks that do not apply to a model
WITHOUT = {"Autoencoder": {"prior", "evidence"}, "VQVAE": {"gradients"}}
# A step of these is a long graph: a check takes 4 s. The suite has the first composition of each, and
# `make slow` the others.
LONG = {"DeepMarkov", "FlowDensity", "HierarchicalVAE", "StateSpace", "TokenVAE"}


def differs_in_its_likelihood(make: Any) -> bool:
    """Whether all else is the default; the suite tries each likelihood in ``tests/parts``."""
    (likelihood,) = make.keywords.values() if make.keywords.keys() == {"likelihood"} else (None,)
    return getattr(likelihood, "__name__", None) in LIKELIHOODS


def compositions() -> Iterator[Any]:
    seen: set[str] = set()
    for i, (name, make, data) in enumerate(SHELF):
        is_again = name in LONG & seen or differs_in_its_likelihood(make)
        marks = [pytest.mark.slow] if is_again else []
        yield pytest.param(name, make, data, id=f"{name}{i}", marks=marks)
        seen.add(name)


@pytest.mark.parametrize(("name", "make", "data"), [*compositions()])
def test_it_keeps_the_contract(
    name: str, make: Callable[[], nn.Module], data: Callable[[], Any]
) -> None:
    made = make()
    program = made if hasattr(made, "guide") else with_prior_as_guide(made)
    report = check_program(program, data(), num_particles=200)
    missed = {each.check: each.reason for each in report.outcomes if each.outcome != "ok"}
    assert missed.keys() <= {"device", *WITHOUT.get(name, ())}, missed


def test_every_model_of_the_shelf_is_here() -> None:
    assert {name for name, _, _ in SHELF} >= set(pyro_vae.models.__all__)
