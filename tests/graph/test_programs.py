"""Programs as people write them: weights that are drawn, plates without a size, Pyro's own guides."""

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.contrib.easyguide import easy_guide
from pyro.infer import autoguide
from pyro.infer.inspect import get_model_relations
from pyro.infer.reparam import LocScaleReparam
from pyro.nn import PyroModule, PyroSample
from pyro.nn.module import to_pyro_module_
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.graph import Graph, ModelGraph, render_model
from pyro_vae.testing import BrokenContract, check_program, structure

X, Y = torch.arange(10.0).reshape(5, 2), torch.zeros(5)
CALL = (X, Y)


@pytest.fixture(autouse=True)
def empty_store() -> Iterator[None]:
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


def normal(name: str, loc: Any, obs: Any = None) -> Tensor:
    drawn: Tensor = pyro.sample(name, dist.Normal(loc, 1.0), obs=obs)
    return drawn


def prior(weight: Tensor) -> Any:
    return dist.Normal(torch.zeros(weight.shape), 1.0).to_event(weight.dim())


def priors(net: nn.Module, part: str = "") -> dict[str, Any]:
    return {name: prior(p) for name, p in net.named_parameters() if part in name}


def edges(graph: Graph) -> set[tuple[str, str]]:
    return {(e.source, e.target) for e in graph.edges}


def kinds(graph: Graph) -> dict[str, str]:
    return {node.name: node.kind for node in graph.nodes}


def boxes(graph: Graph) -> dict[str, int | None]:
    return {node.name: node.count for node in graph.nodes if node.kind == "parameters"}


# --- weights that are drawn --------------------------------------------------------------------------


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
    """Weights drawn one by one, one from another; others learnt."""

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
    """Pyro loses these: it follows tensors by wrapping them."""
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


# --- plates without a size ---------------------------------------------------------------------------


def unsized(x: Tensor) -> None:
    with pyro.plate("data"):
        z = normal("z", torch.zeros(len(x)))
        normal("x", z, obs=x)


def unsized_short(x: Tensor) -> None:
    with pyro.plate("data"):
        normal("x", normal("z", 0.0), obs=x)


def unsized_crossing(x: Tensor) -> None:
    with pyro.plate("columns", dim=-1), pyro.plate("rows", dim=-2):
        normal("y", normal("u", torch.zeros(3, 4)))


def unsized_within(x: Tensor) -> None:
    with pyro.plate("known", 3, dim=-2):
        normal("u", torch.zeros(3, 1))
        with pyro.plate("data", dim=-1):
            normal("x", torch.zeros(3, 5), obs=x.expand(3, 5))


def unsized_unknown(x: Tensor) -> None:
    with pyro.plate("data"):
        normal("y", normal("z", 0.0))


@pytest.mark.parametrize(
    ("model", "sizes"),
    [
        (unsized, {"data": 5}),
        (unsized_short, {"data": 5}),
        (unsized_crossing, {"columns": 4, "rows": 3}),
        (unsized_within, {"known": 3, "data": 5}),
        (unsized_unknown, {"data": None}),
    ],
)
def test_the_size_of_a_plate_that_declares_none(
    model: Callable[..., None], sizes: dict[str, int]
) -> None:
    graph = render_model(model, (torch.zeros(5),))
    assert {plate.name: plate.size for plate in graph.model.plates} == sizes
    assert {plate.name: plate.subsample_size for plate in graph.model.plates} == sizes
    assert all(node.marks == () for node in graph.model.nodes)  # none is scaled
    assert "-1" not in graph.text + graph.svg
    for name, size in sizes.items():
        assert f"┌ {name}\n" in graph.text if size is None else f"┌ {name}  {size}\n" in graph.text


def test_scales_in_plates_with_and_without_a_size() -> None:
    def model() -> None:
        with pyro.plate("data"), poutine.scale(scale=2.0):
            normal("twice", torch.zeros(5))
        with pyro.plate("tensor", torch.tensor(5)):
            normal("whole", 0.0)
        with pyro.plate("part", 10, subsample_size=5), pyro.plate("other", dim=-2):
            normal("subsampled", torch.zeros(3, 5))

    nodes = render_model(model).model.by_name
    assert {name: node.marks for name, node in nodes.items()} == {
        "twice": ("scaled",),
        "whole": (),
        "subsampled": (),
    }


def test_data_stand_inside_a_plate_without_a_size() -> None:
    def guide(x: Tensor) -> None:
        with pyro.plate("data"):
            normal("z", x / 2)

    graph = render_model(unsized, (torch.zeros(5),), guide=guide)
    assert graph.guide is not None
    assert graph.guide.by_name["x"].plates == ("data",)
    assert graph.to_dict()["guide"]["plates"] == [{"name": "data", "size": 5, "subsample_size": 5}]


# --- which sites are what ----------------------------------------------------------------------------


def with_delta() -> None:
    m = normal("m", 0.0)
    sd = pyro.sample("sd", dist.Delta(m**2 + 0.1))
    pyro.sample("x", dist.Normal(m, sd), obs=torch.tensor(1.0))


def test_a_delta_in_the_model_is_a_deterministic_site() -> None:
    graph = render_model(with_delta)
    assert kinds(graph.model) == {"m": "latent", "sd": "deterministic", "x": "observed"}
    assert edges(graph.model) == {("m", "sd"), ("m", "x"), ("sd", "x")}
    joined = render_model(with_delta, render_deterministic=False).model
    assert edges(joined) == {("m", "x")}


def test_a_guide_may_leave_out_a_delta_of_the_model_or_repeat_it() -> None:
    def repeating() -> None:
        pyro.sample("sd", dist.Delta(normal("m", 1.0) ** 2 + 0.1))

    def drawing() -> None:
        normal("sd", normal("m", 1.0))

    assert render_model(with_delta, guide=lambda: normal("m", 1.0)).warnings == ()
    repeated = render_model(with_delta, guide=repeating)
    assert repeated.warnings == ()
    assert repeated.guide is not None
    assert kinds(repeated.guide) == {"m": "latent", "sd": "deterministic"}
    assert render_model(with_delta, guide=drawing).warnings == (
        "the guide samples 'sd', which the model computes",
    )


def test_a_point_of_the_guide_is_a_latent() -> None:
    def model() -> None:
        normal("x", normal("z", 0.0), obs=torch.tensor(1.0))

    graph = render_model(model, guide=lambda: pyro.sample("z", dist.Delta(torch.tensor(1.0))))
    assert graph.guide is not None
    assert kinds(graph.guide) == {"z": "latent"}
    assert graph.warnings == ()


def test_a_reparameterised_site_is_computed() -> None:
    def model() -> None:
        normal("c", normal("b", normal("a", 0.0)), obs=torch.tensor(0.0))

    graph = render_model(poutine.reparam(model, {"b": LocScaleReparam(0.0)})).model
    assert kinds(graph) == {
        "a": "latent",
        "b_decentered": "latent",
        "b": "deterministic",
        "c": "observed",
    }


@pytest.mark.parametrize("has_rsample", [False, True])
def test_factors_of_a_guide_are_shown_however_they_are_made(has_rsample: bool) -> None:
    def model() -> None:
        normal("x", normal("z", 0.0), obs=torch.tensor(1.0))

    def guide() -> None:
        pyro.factor("f", normal("z", 0.0), has_rsample=has_rsample)
        seen = dist.Normal(0.0, 1.0)
        pyro.sample("t", seen, obs=torch.tensor(0.0), infer={"is_auxiliary": True})

    graph = render_model(model, guide=guide)
    assert graph.guide is not None
    assert kinds(graph.guide) == {"z": "latent", "f": "factor", "t": "observed"}
    assert edges(graph.guide) == {("z", "f")}
    assert graph.warnings == ()


def test_what_the_guide_draws_is_a_latent_of_the_model() -> None:
    """A name that the model has for something else is no latent of its."""

    def model(a: Tensor) -> None:
        w = pyro.param("w", torch.zeros(()))
        d = pyro.deterministic("d", normal("z", w))
        normal("x", d + a, obs=torch.tensor(1.0))

    def guide(a: Tensor) -> None:
        for name in ("z", "w", "d", "a", "x"):
            normal(name, 0.0)

    warnings = render_model(model, (torch.zeros(()),), guide=guide).warnings
    assert warnings == (
        "the guide samples 'w', which the model does not: remove it, or mark it with "
        "infer={'is_auxiliary': True}",
        "the guide samples 'd', which the model computes",
        "the guide samples 'a', which the model does not: remove it, or mark it with "
        "infer={'is_auxiliary': True}",
        "the guide samples 'x', which the model observes",
    )


# --- partly observed ---------------------------------------------------------------------------------

SEEN = torch.tensor([True, False, True, True, False])


def partly(x: Tensor, seen: Tensor) -> None:
    with pyro.plate("n", len(x)):
        z = normal("z", 0.0)
        pyro.sample("x", dist.Normal(z, 1.0), obs=x, obs_mask=seen)


def partly_guide(x: Tensor, seen: Tensor) -> None:
    with pyro.plate("n", len(x)):
        z = normal("z", torch.where(seen, x / 2, 0.0))
        normal("x_unobserved", z)


def test_a_partly_observed_site_is_one_node_that_stands_for_three_sites() -> None:
    graph = render_model(partly, (Y, SEEN), guide=partly_guide)
    assert graph.guide is not None
    assert graph.warnings == ()
    assert kinds(graph.model) == {"z": "latent", "x": "partially_observed"}
    assert edges(graph.model) == {("z", "x")}
    trace = poutine.trace(partly).get_trace(Y, SEEN)
    drawn = {name for name, site in trace.nodes.items() if site["type"] == "sample"} - {"n"}
    assert {site for node in graph.model.nodes for site in node.sites} == drawn
    assert graph.model.by_name["x"].sites == ("x", "x_observed", "x_unobserved")
    assert kinds(graph.guide) == {"x (data)": "data", "seen": "data", "z": "latent", "x": "latent"}
    assert edges(graph.guide) == {("x (data)", "z"), ("seen", "z"), ("z", "x")}
    assert graph.guide.by_name["x"].sites == ("x_unobserved",)


def test_the_battery_takes_a_node_for_all_the_sites_that_it_stands_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = partly, partly_guide
    report = check_program(program, (Y, SEEN), checks=(structure.graph,))
    assert report.outcomes[-1].outcome == "ok"
    drawn = render_model(program, (Y, SEEN))
    short = replace(drawn, model=drawn.model.contracted("x"))
    monkeypatch.setattr(structure, "render_model", lambda *_: short)
    with pytest.raises(BrokenContract, match="diagram lacks 'x_observed', 'x_unobserved'"):
        check_program(program, (Y, SEEN), checks=(structure.graph,))


def test_the_half_that_a_guide_lacks_is_named() -> None:
    def guide(x: Tensor, seen: Tensor) -> None:
        with pyro.plate("n", len(x)):
            normal("z", 0.0)

    (warning,) = render_model(partly, (Y, SEEN), guide=guide).warnings
    assert "add pyro.sample('x_unobserved', ...) there" in warning


def test_a_folded_loop_stands_for_all_its_sites() -> None:
    def model() -> None:
        z = normal("z_0", 0.0)
        for t in range(1, 4):
            z = normal(f"z_{t}", z)

    (node,) = render_model(model, fold=True).model.nodes
    assert node.sites == ("z_0", "z_1", "z_2", "z_3")


# --- guides of Pyro's --------------------------------------------------------------------------------


def local(x: Tensor) -> None:
    mean = normal("mean", 0.0)
    with pyro.plate("data", len(x)):
        z = normal("z", mean)
        twice = pyro.deterministic("twice", 2 * z)
        normal("x", twice, obs=x)


@easy_guide(local)
def easy(self: Any, x: Tensor) -> None:
    with self.plate("data", len(x)):
        loc = pyro.param("loc", lambda: torch.zeros(len(x)), event_dim=0)
        self.group(match="z").sample("zs", dist.Normal(loc[..., None], 1.0).to_event(1))
    self.map_estimate("mean")


MESSENGERS = {
    "AutoNormalMessenger": set(),
    "AutoHierarchicalNormalMessenger": {("mean", "z")},
    "AutoRegressiveMessenger": {("mean", "z")},
}


@pytest.mark.parametrize("name", MESSENGERS)
@pytest.mark.parametrize("is_set_up", [False, True])
def test_a_messenger_guide_is_what_it_draws(name: str, is_set_up: bool) -> None:
    """It runs the model, whose data and deterministic sites are none of the guide's."""
    guide = getattr(autoguide, name)(local)
    if is_set_up:
        guide(Y)
        drawn = set(guide.get_traces()[1].nodes)
        assert {"mean", "z"} == drawn
    graph = render_model(local, (Y,), guide=guide)
    assert graph.guide is not None
    assert graph.warnings == ()
    draws = {n for n, kind in kinds(graph.guide).items() if kind != "parameters"}
    assert draws == {"mean", "z"}
    assert {e for e in edges(graph.guide) if e[0] in draws} == MESSENGERS[name]


def test_a_flow_is_one_box_before_its_guide_is_set_up_and_after() -> None:
    guide = autoguide.AutoIAFNormal(local)
    before = render_model(local, (Y,), guide=guide).guide
    guide(Y)
    after = render_model(local, (Y,), guide=guide).guide
    assert before is not None
    assert after is not None
    assert boxes(before).keys() == boxes(after).keys() == {"transform"}


@pytest.mark.parametrize("rows", [5, 3])
def test_an_easy_guide_keeps_its_plates(rows: int) -> None:
    easy(Y)
    plates = dict(easy.plates)
    assert render_model(local, (torch.zeros(rows),)).warnings == ()
    graph = render_model(local, (Y,), guide=easy)
    assert graph.guide is not None
    assert edges(graph.guide) == {("loc", "z"), ("mean (parameters)", "mean")}
    assert easy.plates == plates
    easy(Y)


def test_no_guide_and_a_guide_of_none() -> None:
    class Modelled:
        guide = None

        def model(self, x: Tensor) -> None:
            local(x)

    class ModelAlone(nn.Module):
        def model(self, x: Tensor) -> None:
            local(x)

    whole = render_model(local, (Y,)).to_dict()
    assert whole["guide"] is None
    for program in ((local, None), Modelled(), ModelAlone()):
        assert render_model(program, (Y,)).to_dict() == whole
    assert render_model(local, (Y,), guide=None).to_dict() == whole


class Vae(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decoder, self.scale = nn.Linear(2, 2), nn.Parameter(torch.ones(()))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data"):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), self.scale).to_event(1), obs=x)


def test_a_handled_model_has_the_networks_of_its_object() -> None:
    vae = Vae()
    expected = {"decoder": 6, "scale": 1}
    assert boxes(render_model(vae.model, (X,)).model) == expected
    assert boxes(render_model(poutine.scale(vae.model, scale=2.0), (X,)).model) == expected
    conditioned = pyro.condition(poutine.block(vae.model, hide=["none"]), {"z": torch.zeros(5, 2)})
    assert boxes(render_model(conditioned, (X,)).model) == expected
    called = render_model(lambda x: vae.model(x), (X,)).model
    assert boxes(called) == {"vae.decoder": 6, "vae.scale": 1}


@pytest.mark.parametrize("hidden", [{"hide": ["w"]}, {"hide_types": ["param"]}])
def test_a_parameter_behind_block_is_drawn(hidden: dict[str, list[str]]) -> None:
    def model() -> None:
        with poutine.block(**hidden):
            w = pyro.param("w", torch.ones(3), constraint=dist.constraints.positive)
        pyro.sample("y", dist.Normal(w, 1.0).to_event(1))

    graph = render_model(model).model
    assert edges(graph) == {("w", "y")}
    assert boxes(graph) == {"w": 3}


# --- how programs run --------------------------------------------------------------------------------


def newton(x: Tensor) -> None:
    """A guide that takes a step along a gradient of its own."""
    start = pyro.param("start", torch.tensor(0.1)) * torch.ones_like(x)
    start = start if start.requires_grad else start.requires_grad_()
    energy = -(start**2 / 2 + (x - start) ** 2 / 2).sum()
    (slope,) = torch.autograd.grad(energy, start, create_graph=True)
    with pyro.plate("data", len(x)):
        normal("z", start + slope / 2)


def test_programs_that_differentiate_inside() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = normal("z", torch.zeros(len(x)))
            at = z.detach().requires_grad_()
            (force,) = torch.autograd.grad((at**4).sum(), at)
            normal("x", force, obs=x)

    graph = render_model(model, (Y,), guide=newton)
    assert graph.guide is not None
    assert edges(graph.model) == {("z", "x")}
    assert edges(graph.guide) == {("start", "z"), ("x", "z")}


def test_gradients_inside_are_not_left_to_parameters() -> None:
    net, weight = nn.Linear(2, 1), torch.ones(2, requires_grad=True)
    kept = torch.full((1, 2), 7.0)
    net.weight.grad = kept

    def model(x: Tensor) -> None:
        w = pyro.param("w", torch.ones(2))
        z = normal("z", 0.0)
        (net(x).sum() * z + (w * weight).sum()).backward()
        assert w.grad is not None
        normal("y", w.grad.sum() + float(z))

    pyro.param("w", torch.ones(2))
    render_model(model, (X,))
    assert net.weight.grad is kept
    assert torch.equal(kept, torch.full((1, 2), 7.0))
    assert net.bias.grad is None
    assert weight.grad is None
    assert pyro.param("w").grad is None


def only_under_enumeration(x: Tensor) -> None:
    loc = normal("loc", 0.0)
    with pyro.plate("data", len(x)):
        k = pyro.sample("k", dist.Categorical(torch.ones(3)), infer={"enumerate": "parallel"})
        normal("x", loc + torch.arange(3.0)[k].reshape(3, 1), obs=x)


def chain_under_enumeration(x: Tensor) -> None:
    rows = pyro.sample("rows", dist.Dirichlet(torch.ones(3, 3)).to_event(1))
    states = torch.tensor(0)
    with pyro.plate("sequences", 5):
        for t in pyro.markov(range(2)):
            states = pyro.sample(
                f"k_{t}", dist.Categorical(rows[states]), infer={"enumerate": "parallel"}
            )
            assert states.shape[-1] == 1  # summed out left of the plate
            normal(f"x_{t}", states.double(), obs=x)


@pytest.mark.parametrize(
    ("model", "expected", "shape"),
    [
        (only_under_enumeration, {("loc", "x"), ("k", "x")}, (5,)),
        (
            chain_under_enumeration,
            {("rows", "k_0"), ("rows", "k_1"), ("k_0", "k_1"), ("k_0", "x_0"), ("k_1", "x_1")},
            (5,),
        ),
    ],
)
def test_programs_that_hold_only_under_enumeration(
    model: Callable[..., None], expected: set[tuple[str, str]], shape: tuple[int, ...]
) -> None:
    graph = render_model(model, (Y,))
    assert edges(graph.model) == expected
    assert graph.warnings == ()
    (plate,) = graph.model.plates
    assert plate.size == 5
    for name in graph.model.members(plate.name):
        assert graph.model.by_name[name].batch_shape in (shape, ())


def test_an_error_under_enumeration_is_the_programs_own() -> None:
    def model(x: Tensor) -> None:
        pyro.sample("k", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
        raise KeyError("gone")

    with pytest.raises(InputError, match="raised KeyError after site 'k': 'gone'"):
        render_model(model, (Y,))


@pytest.mark.parametrize("value", [9.5, 9, np.float32(9.5), np.float64(9.5)])
def test_a_plain_number_that_is_observed(value: Any) -> None:
    def scale(guess: float) -> None:
        weight = normal("weight", guess)
        normal("measurement", 2 * weight)

    def recorded() -> None:
        normal("y", normal("x", 0.0, obs=value) * 2)

    graph = render_model(pyro.condition(scale, {"measurement": value}), (8.5,)).model
    assert edges(graph) == {("weight", "measurement")}
    assert graph.by_name["measurement"].kind == "observed"
    assert edges(render_model(recorded).model) == {("x", "y")}


def test_arguments_that_all_have_defaults_and_containers() -> None:
    def model(x: Any = None, more: Any = None, size: int = 3) -> None:
        more = more or {"shift": [torch.zeros(size)]}
        normal("x", normal("z", torch.zeros(size)) + more["shift"][0], obs=x)

    assert edges(render_model(model).model) == {("z", "x")}
    graph = render_model(model, (torch.zeros(3),), {"more": {"shift": [torch.zeros(3)]}}).model
    assert edges(graph) == {("z", "x"), ("more[shift][0]", "x")}


# --- whatever a person's own code raises -------------------------------------------------------------


class Own(dist.TorchDistribution):
    """A distribution as people write them: none of its attributes can be relied on."""

    arg_constraints: dict[str, Any] = {"loc": dist.constraints.real}
    batch_shape = ()
    event_shape = (3,)

    def __init__(self, held: Tensor) -> None:
        self.held = held

    @property
    def loc(self) -> Tensor:
        raise KeyError("loc")

    @property
    def support(self) -> Any:
        raise IndexError("support")

    @property
    def has_enumerate_support(self) -> bool:
        raise AssertionError

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.held + torch.zeros(3)

    def log_prob(self, value: Tensor) -> Tensor:
        raise TypeError("cannot score this")


def test_a_diagram_needs_no_scores_and_few_attributes() -> None:
    def model() -> None:
        w = pyro.sample("w", Own(normal("z", 0.0)))
        pyro.sample("y", Own(w), obs=torch.zeros(3))

    graph = render_model(model).model
    assert edges(graph) == {("z", "w"), ("w", "y")}
    assert graph.by_name["w"].event_shape == (3,)
    assert graph.by_name["w"].distribution == "Own"


def test_a_site_may_draw_by_a_plain_function() -> None:
    def walk(start: Tensor) -> Tensor:
        return start + torch.randn(3)

    def model() -> None:
        a = normal("a", 0.0)
        b = pyro.sample("b", walk, a)
        pyro.sample("c", lambda: float(torch.rand(())))
        normal("y", b)

    graph = render_model(model).model
    assert edges(graph) == {("a", "b"), ("b", "y")}
    assert (graph.by_name["b"].distribution, graph.by_name["b"].event_shape) == ("walk", (3,))
    assert kinds(graph)["c"] == "latent"


def test_latents_whose_set_depends_on_a_draw() -> None:
    def model(hours: Tensor) -> None:
        if pyro.sample("lazy", dist.Bernoulli(0.9)):
            ignore = pyro.sample("ignore", dist.Bernoulli(0.8))
            normal("hours", 8 + 2 * ignore, obs=hours)
        else:
            normal("hours", 6.0, obs=hours)

    graph = render_model(model, (torch.tensor(8.5),)).model
    assert edges(graph) == {("lazy", "ignore"), ("lazy", "hours"), ("ignore", "hours")}


def test_a_value_that_the_program_refuses_is_not_tried() -> None:
    def model() -> None:
        k = pyro.sample("k", dist.Categorical(torch.tensor([1.0, 1.0, 0.0])))
        normal("y", {0: -1.0, 1: 1.0}[int(k)])

    assert edges(render_model(model).model) == {("k", "y")}


@pytest.mark.parametrize(
    "kind", [KeyError, IndexError, AssertionError, TypeError, AttributeError, StopIteration]
)
def test_what_a_program_raises_is_told_with_the_site(kind: type[Exception]) -> None:
    def model() -> None:
        normal("z", 0.0)
        raise kind("in\ntwo lines")

    with pytest.raises(InputError, match=f"the model raised {kind.__name__} after site 'z': ") as e:
        render_model(model)
    assert "\n" not in str(e.value)


def test_a_name_that_is_no_string() -> None:
    with pytest.raises(InputError, match="the model has a site 3: a name must be a string"):
        render_model(lambda: pyro.sample(3, dist.Normal(0.0, 1.0)))


# --- what is left behind -----------------------------------------------------------------------------


class Notebook:
    """A plain object with a model that keeps what it has seen."""

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


def test_objects_in_objects_and_generators_of_ones_own_are_as_they_were() -> None:
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
