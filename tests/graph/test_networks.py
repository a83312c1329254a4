"""The boxes of networks and parameters."""

import pyro
import pyro.distributions as dist
import torch
from diagrams import edges, normal
from pyro.nn import PyroModule, PyroParam, PyroSample
from refused import refused
from torch import nn

from pyro_vae.graph import render_model


class Program(nn.Module):
    def __init__(self):
        super().__init__()
        self.decoder = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
        self.heads = nn.ModuleList([nn.Linear(4, 1), nn.Linear(4, 1)])
        self.scale = nn.Parameter(torch.ones(()))
        self.unused = nn.Linear(2, 2)

    def model(self):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        h = self.decoder(z)
        normal("y", self.heads[1](h) * self.scale)


def test_networks_are_boxes_and_free_parameters_are_themselves():
    graph = render_model(Program().model).model
    boxes = {n.name: (n.distribution, n.count) for n in graph.nodes if n.kind == "parameters"}
    assert boxes == {
        "decoder": ("Sequential", 25),
        "heads.1": ("Linear", 5),
        "scale": ("Parameter", 1),
    }
    assert edges(graph) == {("z", "y"), ("decoder", "y"), ("heads.1", "y"), ("scale", "y")}


def test_networks_of_closures_and_of_pyro_module_have_names():
    net, other = nn.Linear(2, 2), nn.Linear(2, 2)

    def model():
        pyro.module("registered", other)
        z = normal("z", torch.zeros(2))
        normal("y", net(z) + other(z))

    assert edges(render_model(model).model) >= {("z", "y"), ("net", "y")}
    assert len(render_model(model).model.parents("y")) == 3


def test_pyro_module_keeps_the_name_it_is_registered_by():
    def model(modules):
        pyro.module("decoder", modules["net"])
        normal("y", modules["net"](normal("z", torch.zeros(2))))

    graph = render_model(model, ({"net": nn.Linear(2, 2)},)).model
    (box,) = (n for n in graph.nodes if n.kind == "parameters")
    assert (box.name, box.distribution, box.count) == ("decoder", "Linear", 6)


def test_tied_weights_are_one_box():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(2, 2)
            self.other = self.one

        def model(self):
            normal("y", self.other(normal("z", torch.zeros(2))))

    graph = render_model(Tied().model).model
    assert edges(graph) == {("z", "y"), ("one", "y")}


def test_a_pyro_module_with_parameters_and_random_weights():
    class Bayesian(PyroModule):
        def __init__(self):
            super().__init__()
            self.linear = PyroModule[nn.Linear](2, 1)
            self.linear.weight = PyroSample(dist.Normal(0.0, 1.0).expand([1, 2]).to_event(2))
            self.scale = PyroParam(torch.ones(()), constraint=dist.constraints.positive)

        def forward(self, x):
            pyro.sample("y", dist.Normal(self.linear(x), self.scale).to_event(2))

    graph = render_model(Bayesian(), (torch.zeros(5, 2),)).model
    assert edges(graph) == {
        ("linear.weight", "y"),
        ("linear.bias", "y"),
        ("x", "y"),
        ("scale", "y"),
    }
    assert graph.by_name["scale"].support == "positive"


def test_param_statements_are_nodes_with_their_constraints():
    def model():
        rate = pyro.param("rate", torch.ones(3), constraint=dist.constraints.positive)
        pyro.sample("y", dist.Exponential(rate).to_event(1))

    graph = render_model(model).model
    assert edges(graph) == {("rate", "y")}
    assert graph.by_name["rate"].support == "positive"
    assert graph.by_name["rate"].batch_shape == (3,)
    assert edges(render_model(model, render_params=False).model) == set()


def test_a_parameter_does_not_depend_on_how_it_was_initialised():
    pyro.clear_param_store()

    def model():
        z = normal("z", 0.0)
        normal("y", pyro.param("w", lambda: z.detach() + 1))

    assert edges(render_model(model).model) == {("w", "y")}


def test_modules_that_sample_are_no_networks():
    class Inner(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 2)

        def forward(self, z):
            return normal("h", self.net(z))

    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def model(self):
            normal("y", self.inner(normal("z", torch.zeros(2))))

    graph = render_model(Outer().model).model
    assert edges(graph) == {("inner.net", "h"), ("z", "h"), ("h", "y")}


def test_lazy_networks_are_refused_with_the_remedy():
    class Lazy(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.LazyLinear(2)

        def model(self):
            normal("y", self.net(normal("z", torch.zeros(3))))

    program = Lazy()
    with refused("net.weight", remedy="run the program once"):
        render_model(program.model)
    assert program.net.has_uninitialized_params()
