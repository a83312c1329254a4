"""Drawing a program changes nothing: generators, store, buffers, modes, gradients, attributes."""

import random

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from diagrams import Y, normal
from pyro import poutine
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from refused import refused
from torch import Tensor, nn

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
        with refused("x"):
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


class Notebook:
    """A plain object whose model changes its attributes."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.count = 0

    def model(self, x: Tensor) -> None:
        self.count += 1
        self.calls.append(self.count)
        self.last = x
        normal("x", float(normal("z", 0.0)), obs=x)


def test_objects_and_containers_are_as_they_were() -> None:
    notebook, history, table = Notebook(), [1], {"n": 0}
    calls = notebook.calls

    def model(x: Tensor) -> None:
        history.append(2)
        table["n"] += 1
        notebook.model(x)

    for each in (notebook.model, model, poutine.scale(notebook.model, scale=2.0)):
        assert render_model(each, (Y,)).model.nodes
        assert (history, table) == ([1], {"n": 0})
        assert vars(notebook) == {"calls": [], "count": 0}
        assert notebook.calls is calls


def test_nested_objects_and_own_generators_are_as_they_were() -> None:
    class Statistics:
        def __init__(self) -> None:
            self.seen: dict[str, list[int]] = {"rows": []}
            self.count = 0

    class Program(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.statistics = Statistics()
            self.inner = nn.Linear(2, 2)
            self.inner.statistics = self.statistics  # type: ignore[assignment]
            self.torch = torch.Generator().manual_seed(1)
            self.numpy = np.random.default_rng(1)
            self.python = random.Random(1)

        def model(self, x: Tensor) -> None:
            self.statistics.count += 1
            self.statistics.seen["rows"].append(len(x))
            noise = (
                torch.randn(5, generator=self.torch) + self.numpy.normal() + self.python.random()
            )
            normal("x", noise + float(normal("z", 0.0)), obs=x)

    program = Program()
    states = program.torch.get_state(), program.numpy.bit_generator.state, program.python.getstate()
    for each in (program.model, lambda x: program.model(x)):
        assert render_model(each, (Y,)).model.parents("x") == ("z",)
        assert program.statistics.seen == {"rows": []}
        assert program.statistics.count == 0
        assert torch.equal(program.torch.get_state(), states[0])
        assert program.numpy.bit_generator.state == states[1]
        assert program.python.getstate() == states[2]


def test_arguments_weights_and_types_are_as_they_were() -> None:
    net = nn.Linear(2, 1)
    weight = net.weight
    x, table, closed = torch.zeros(5, 2), np.zeros(5), torch.zeros(2)
    before = weight.detach().clone()

    def model(x: Tensor, table: np.ndarray) -> None:
        z = normal("z", 0.0)
        float(z)
        torch.set_default_dtype(torch.float64)
        x.add_(1.0).requires_grad_()
        table += 1
        closed.fill_(3.0)
        with torch.no_grad():
            net.weight.mul_(2.0)
        pyro.module("net", net)
        net.weight.requires_grad_(False)
        normal("y", net(x.float()).sum() + z)

    render_model(model, (x, table))
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(x, torch.zeros(5, 2))
    assert not x.requires_grad
    assert not table.any()
    assert not closed.any()
    assert net.weight is weight
    assert weight.requires_grad
    assert torch.equal(weight, before)
    assert dict(pyro.get_param_store()) == {}
