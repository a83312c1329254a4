"""Weights that are drawn: random networks by every way that Pyro and torch offer."""

import copy
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from diagrams import CALL, boxes, edges, normal, prior, priors
from pyro import poutine
from pyro.infer.inspect import get_model_relations
from pyro.nn import PyroModule, PyroSample
from pyro.nn.module import to_pyro_module_
from torch import Tensor, nn

from pyro_vae.graph import ModelGraph, render_model


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(2, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.out(self.hidden(x).tanh()).squeeze(-1)
        return y


def regression(function: Callable[[Tensor], Tensor], x: Tensor, y: Tensor) -> None:
    loc = function(x)  # outside of the plate: the weights are drawn here
    with pyro.plate("n", len(x)):
        normal("y", loc, obs=y)


def lifted(part: str) -> Callable[..., None]:
    net = Net()

    def model(x: Tensor, y: Tensor) -> None:
        with pytest.warns(FutureWarning, match="random_module"):
            drawn = pyro.random_module("net", net, priors(net, part))()
        regression(drawn, x, y)

    return model


def lifted_by_handler() -> Callable[..., None]:
    net = Net()

    def model(x: Tensor, y: Tensor) -> None:
        regression(pyro.module("net", net, update_module_params=True), x, y)

    handled: Callable[..., None] = poutine.lift(model, prior=priors(net))
    return handled


def lifted_params() -> Callable[..., None]:
    def model(x: Tensor, y: Tensor) -> None:
        w, b = pyro.param("w", torch.zeros(2)), pyro.param("b", torch.zeros(()))
        regression(lambda x: x @ w + b, x, y)

    handled: Callable[..., None] = poutine.lift(model, prior={"w": prior(torch.zeros(2))})
    return handled


class BayesianRegression(PyroModule):
    def __init__(self) -> None:
        super().__init__()
        self.linear = PyroModule[nn.Linear](2, 1)
        self.linear.weight = PyroSample(prior(torch.zeros(1, 2)))
        self.linear.bias = PyroSample(prior(torch.zeros(1)))

    def forward(self, x: Tensor, y: Tensor) -> None:
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        loc = self.linear(x).squeeze(-1)
        with pyro.plate("n", len(x)):
            pyro.sample("y", dist.Normal(loc, scale), obs=y)


class HalfBayesian(PyroModule):
    """Draw some weights one from another, and learn the others."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = PyroModule[nn.Linear](2, 3), PyroModule[nn.Linear](3, 1)
        self.tau = PyroSample(dist.HalfNormal(1.0))
        self.hidden.weight = PyroSample(prior(torch.zeros(3, 2)))
        self.shift = PyroSample(lambda self: dist.Normal(0.0, self.tau))

    def forward(self, x: Tensor, y: Tensor) -> None:
        regression(lambda x: self.out(self.hidden(x).tanh()).squeeze(-1) + self.shift, x, y)


def turned() -> Callable[..., None]:
    net = Net()
    to_pyro_module_(net)
    for module in net.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, PyroSample(prior(weight)))
    return lambda x, y: regression(net, x, y)


def called_with(part: str) -> Callable[..., None]:
    net = Net()

    def model(x: Tensor, y: Tensor) -> None:
        drawn = {name: pyro.sample(name, p) for name, p in priors(net, part).items()}
        regression(lambda x: torch.func.functional_call(net, drawn, (x,)), x, y)

    return model


def in_a_plate(x: Tensor, y: Tensor) -> None:
    with pyro.plate("experts", 3):
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        b = normal("b", 0.0)
    k = pyro.sample("k", dist.Categorical(torch.ones(3)))
    regression(lambda x: x @ w[k] + b[k], x, y)


DRAWN: dict[str, tuple[Callable[[], Callable[..., None]], dict[str, int]]] = {
    "random_module": (lambda: lifted(""), {}),
    "random_module of a part": (lambda: lifted("out"), {"net": 9}),
    "lift of a module": (lifted_by_handler, {}),
    "lift of parameters": (lifted_params, {"b": 1}),
    "Bayesian regression": (BayesianRegression, {}),
    "drawn and learnt": (HalfBayesian, {"hidden.bias": 3, "out": 4}),
    "to_pyro_module_": (turned, {}),
    "functional_call": (lambda: called_with(""), {}),
    "functional_call of a part": (lambda: called_with("hidden"), {"net": 4}),
    "in a plate": (lambda: in_a_plate, {}),
}


@pytest.mark.parametrize("way", DRAWN)
def test_drawn_weights_have_the_edges_that_pyro_finds(way: str) -> None:
    make, learnt = DRAWN[way]
    graph = render_model(make(), CALL).model
    relations = get_model_relations(make(), CALL)["sample_sample"]
    theirs = {(p, child) for child, parents in relations.items() for p in parents if p != child}
    sites = {node.name for node in graph.nodes if node.kind in ("latent", "observed")}
    assert sites == relations.keys()
    assert {edge for edge in edges(graph) if edge[0] in sites} == theirs
    assert boxes(graph) == learnt
    assert {child for source, child in edges(graph) if source in learnt} <= {"y"}


def overwritten(write: Callable[[nn.Linear, Tensor], Any]) -> Callable[..., None]:
    net = nn.Linear(2, 1, bias=False)

    def model(x: Tensor, y: Tensor) -> None:
        copied = copy.deepcopy(net)
        write(copied, pyro.sample("w", prior(torch.zeros(1, 2))))
        regression(lambda x: copied(x).squeeze(-1), x, y)

    return model


def replaced(net: nn.Linear, weight: Tensor) -> None:
    del net.weight
    net.weight = weight


def copied_in(net: nn.Linear, weight: Tensor) -> None:
    with torch.no_grad():
        net.weight.copy_(weight)


WRITTEN: dict[str, Callable[[nn.Linear, Tensor], Any]] = {
    "attribute": replaced,
    "copy": copied_in,
    "parameter": lambda net, w: setattr(net, "weight", nn.Parameter(w)),
    "state dict": lambda net, w: net.load_state_dict({"weight": w}),
    "vector": lambda net, w: nn.utils.vector_to_parameters(w.flatten(), net.parameters()),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_weights_written_into_a_network_are_drawn(way: str) -> None:
    """Pyro loses these edges, as it tracks tensors by wrapping them."""
    graph = render_model(overwritten(WRITTEN[way]), CALL).model
    assert edges(graph) == {("w", "y"), ("x", "y")}


def test_an_ensemble_of_networks_by_vmap_and_a_derivative_of_one() -> None:
    """Pyro's relations lack these edges, too."""
    net = nn.Linear(2, 1)

    def model(x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", prior(torch.zeros(4, 1, 2)))

        def one(weight: Tensor) -> Tensor:
            return torch.func.functional_call(net, {"weight": weight}, (x,)).squeeze(-1)

        regression(lambda x: torch.func.vmap(one)(w).mean(0), x, y)
        normal("slope", torch.func.grad(lambda v: (one(v) ** 2).sum())(w[0]).sum())

    graph = render_model(model, CALL).model
    assert edges(graph) == {
        (source, target) for source in ("w", "net", "x") for target in ("y", "slope")
    }
    assert boxes(graph) == {"net": 1}


def test_a_lifted_weight_is_called_as_a_person_would() -> None:
    graph = render_model(lifted_by_handler(), CALL)
    assert "net$$$hidden.weight" in graph.model.by_name
    for ending in ("svg", "dot", "mmd", "txt", "tex"):
        assert "net.hidden.weight" in graph.render(ending).decode().replace("\\", "")


def test_a_lifted_network_keeps_its_own_weights() -> None:
    net = Net()
    weights = dict(net.named_parameters())

    def model(x: Tensor, y: Tensor) -> None:
        regression(pyro.module("net", net, update_module_params=True), x, y)

    graph: ModelGraph = render_model(poutine.lift(model, prior=priors(net)), CALL)
    assert set(graph.model.parents("y")) == {"x", *(f"net$$${name}" for name in weights)}
    assert {name: id(p) for name, p in net.named_parameters()} == {
        name: id(p) for name, p in weights.items()
    }
