"""Drawing a program changes nothing: generators, store, buffers, modes, gradients, attributes."""

import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from torch import nn

from pyro_vae.errors import InputError
from pyro_vae.graph import render_model


class Normalised(nn.Module):
    """A program with hidden state of every kind."""

    def __init__(self, asks_for_values, raises):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
        self.asks_for_values, self.raises = asks_for_values, raises
        self.calls = []

    def model(self, x):
        pyro.module("net", self.net)
        loc = pyro.param("loc", torch.zeros(3))
        self.calls.append("called")
        self.last = x
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))
            if self.asks_for_values:
                assert torch.isfinite(z).all()
                np.random.rand()  # noqa: NPY002
                random.random()
            pyro.sample("x", dist.Normal(self.net(z), 1.0).to_event(1), obs=x)
        if self.raises:
            raise RuntimeError("enough")


def state(program):
    store = pyro.get_param_store()
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "python": random.getstate(),
        "buffers": [b.tolist() for b in program.buffers()],
        "parameters": [p.tolist() for p in program.parameters()],
        "gradients": [p.grad is None or p.grad.tolist() for p in program.parameters()],
        "modes": [m.training for m in program.modules()],
        "attributes": sorted(vars(program)),
        "calls": list(program.calls),
        "store": {name: value.tolist() for name, value in store.items()},
        "grad": torch.is_grad_enabled(),
        "validation": torch.distributions.Distribution._validate_args,
    }


@pytest.mark.parametrize("asks_for_values", [False, True])
@pytest.mark.parametrize("raises", [False, True])
def test_everything_is_as_before(asks_for_values, raises):
    pyro.clear_param_store()
    pyro.param("other", torch.ones(2))
    program = Normalised(asks_for_values, raises)
    program.net[0].weight.grad = torch.ones(3, 3)
    program.net[2].eval()
    before = state(program)
    if raises:
        with pytest.raises(InputError, match=r"RuntimeError.*'x'.*enough"):
            render_model(program.model, (torch.zeros(5, 3),))
    else:
        render_model(program.model, (torch.zeros(5, 3),))
    assert state(program) == before
    pyro.clear_param_store()


@pytest.mark.parametrize("kind", [AutoNormal, AutoMultivariateNormal])
def test_an_autoguide_is_not_set_up_by_its_picture(kind):
    def model(x):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    guide = kind(model)
    render_model(model, (torch.tensor(1.0),), guide=guide)
    assert guide.prototype_trace is None
    assert list(guide.parameters()) == []
    guide(torch.tensor(1.0))  # and it can be, afterwards
    assert all(p.device.type == "cpu" for p in guide.parameters())
    pyro.clear_param_store()


def test_a_trained_autoguide_keeps_its_parameters():
    def model():
        pyro.sample("z", dist.Normal(0.0, 1.0))

    guide = AutoNormal(model)
    guide()
    before = [p.clone() for p in guide.parameters()]
    graph = render_model(model, guide=guide)
    assert graph.guide is not None
    assert set(graph.guide.parents("z")) == {"locs.z", "scales.z"}
    assert all(torch.equal(a, b) for a, b in zip(guide.parameters(), before, strict=True))
    pyro.clear_param_store()
