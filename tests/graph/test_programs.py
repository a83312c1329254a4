"""Programs as people write them: partly observed, enumerated, with gradients or classes of their own."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from diagrams import X, Y, edges, kinds, normal
from pyro import poutine
from refused import refused
from torch import Tensor, nn

from pyro_vae.graph import render_model
from pyro_vae.testing import BrokenContract, check_program, structure

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


def test_check_program_counts_a_node_for_all_its_sites(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = partly, partly_guide
    report = check_program(program, (Y, SEEN), checks=(structure.graph,))
    assert report.outcomes[-1].outcome == "ok"
    drawn = render_model(program, (Y, SEEN))
    short = replace(drawn, model=drawn.model.without("partially_observed"))
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


# --- how programs run --------------------------------------------------------------------------------


def newton(x: Tensor) -> None:
    """A guide that takes a step along its own gradient."""
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

    with refused("k"):
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
    """A distribution as people write them, without reliable attributes."""

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
def test_an_error_of_the_program_names_the_site(kind: type[Exception]) -> None:
    def model() -> None:
        normal("z", 0.0)
        raise kind("in\ntwo lines")

    with refused("z") as e:
        render_model(model)
    assert "\n" not in str(e.value)


def test_a_name_that_is_no_string() -> None:
    with refused("3"):
        render_model(lambda: pyro.sample(3, dist.Normal(0.0, 1.0)))
