"""An evaluation leaves no trace, also when it fails."""

import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from stories import PyroStyleVAE
from torch import Tensor, nn

from pyro_vae.program.contract import Program, as_program
from pyro_vae.program.isolation import own_parameters, seed_all, undisturbed
from pyro_vae.program.parameters import stored_parameters

NET = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 6))


def closed_over(x: Tensor) -> None:
    """A plain function over a network that nobody registers."""
    pyro.param("offset", torch.zeros(6))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(NET(x), 1.0).to_event(1), obs=x)


def everything() -> list[Tensor]:
    return [
        torch.get_rng_state(),
        torch.from_numpy(np.random.get_state()[1].astype("int64")),  # noqa: NPY002
        torch.tensor(random.getstate()[1]),
        NET[0].running_mean.clone(),
        NET[0].num_batches_tracked.clone(),
        torch.tensor([m.training for m in NET.modules()]),
        torch.tensor(list(pyro.settings.get().values())),
        torch.tensor(len(pyro.get_param_store())),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(fails: bool) -> None:
    before = everything()
    outputs = []
    try:
        with undisturbed(Program(closed_over, lambda x: None), seed=1):
            outputs = [NET(torch.ones(3, 6)), NET(torch.ones(3, 6))]
            closed_over(torch.ones(3, 6))
            torch.randn(3), np.random.rand(), random.random()  # noqa: NPY002
            pyro.enable_validation(False)
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert torch.equal(outputs[0], outputs[1])  # no dropout: eval mode
    for was, now in zip(before, everything(), strict=True):
        assert torch.equal(was, now)


def test_seeds_mean_the_same_draws() -> None:
    program = Program(closed_over, closed_over)
    draws = []
    for _ in range(2):
        torch.randn(1)
        with undisturbed(program, seed=3):
            draws.append(torch.randn(2))
    assert torch.equal(*draws)


def test_another_models_parameters_in_the_store_are_not_taken_for_ones_own() -> None:
    x = torch.ones(2, 6)
    first, second = PyroStyleVAE(), PyroStyleVAE()
    first.guide(x)
    second.guide(x)
    store = pyro.get_param_store()
    assert store._params["encoder$$$weight"] is first.encoder.weight  # plain Pyro, and silently so
    with own_parameters(as_program(second)):
        second.guide(x)
    assert store._params["encoder$$$weight"] is second.encoder.weight
    assert stored_parameters(as_program(second), x) == {}


def test_another_models_parameter_may_have_two_names() -> None:
    other = nn.Linear(6, 6)
    pyro.module("one", other)
    pyro.module("two", other)
    mine, x = PyroStyleVAE(), torch.ones(2, 6)
    with own_parameters(as_program(mine)):
        assert len(pyro.get_param_store()) == 0
        mine.guide(x)
    assert {"one$$$weight", "two$$$weight", "encoder$$$weight"} <= pyro.get_param_store().keys()


def test_seeds_are_pyros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "manual_seed", torch.default_generator.manual_seed)  # no `--seed`
    draws = []
    for seeded in (seed_all, pyro.set_rng_seed):
        seeded(7)
        draws.append((random.random(), np.random.rand(), torch.rand(3).tolist()))  # noqa: NPY002
    assert draws[0] == draws[1]
