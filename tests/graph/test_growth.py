"""The work of a diagram grows with its nodes and edges; counted as calls and as pairs, not as time."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from diagrams import chain, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import pyro_vae.graph
from pyro_vae.graph import render_model
from pyro_vae.graph.graph import Edge, Graph, Node
from pyro_vae.graph.layout import exchange, route

ROOM = str(Path(pyro_vae.graph.__file__).parent)


def groups(number: int) -> Callable[[], Any]:
    def model():
        mean = normal("mean", 0.0)
        for g in range(number):
            with pyro.plate(f"data_{g}", 5):
                normal(f"y_{g}", normal(f"mean_{g}", mean), obs=torch.zeros(5))

    return model


def deterministic(length: int) -> Callable[[], Any]:
    def model():
        z = normal("z", 0.0)
        for t in range(length):
            z = pyro.deterministic(f"h_{t}", z.tanh())

    return model


def with_a_network(length: int) -> Callable[[], Any]:
    net = nn.Linear(1, 1)

    def model():
        z = torch.zeros(1)
        for t in range(length):
            z = pyro.sample(f"z_{t}", dist.Normal(net(z), 1.0).to_event(1))

    return model


def calls(work: Callable[[], Any]) -> int:
    """Return how often functions, comprehensions and generators of the graph's room are entered."""
    count = 0

    def note(frame: FrameType, event: str, _: Any) -> None:
        nonlocal count
        count += event == "call" and frame.f_code.co_filename.startswith(ROOM)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def full(program: Callable[[int], Any], length: int) -> int:
    return calls(lambda: render_model(program(length), fold=False).render("svg"))


@pytest.mark.parametrize("program", [chain, groups, deterministic])
def test_the_calls_for_a_full_picture_grow_linearly(program: Any) -> None:
    full(program, 3)  # fills caches, such as the font's
    small, large = (full(program, length) for length in (60, 120))
    assert large <= 2.2 * small


def test_only_routes_past_all_steps_cost_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """An edge from a network to step t passes the steps before it."""

    def straight(router: route.Router, source: str, target: str) -> Any:
        return router.nodes[source].center, router.nodes[target].center

    monkeypatch.setattr(route.Router, "route", straight)
    full(with_a_network, 3)
    small, large = (full(with_a_network, length) for length in (60, 120))
    assert large <= 2.2 * small


@pytest.mark.parametrize("program", [chain, groups, deterministic, with_a_network])
def test_an_abridged_picture_takes_the_same_calls_at_any_length(program: Any) -> None:
    scenes = []
    for length in (100, 200):
        graph = render_model(program(length))
        assert graph.shown.remarks
        scenes.append(calls(lambda graph=graph: graph.render("svg")))
    assert scenes[1] <= 1.05 * scenes[0]


def test_pairs_of_lines_and_obstacles_grow_linearly(monkeypatch: pytest.MonkeyPatch) -> None:
    def pairs(length: int) -> int:
        count = 0

        def counted(original: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*arrays: np.ndarray) -> Any:
                nonlocal count
                count += len(arrays[0]) * len(arrays[-1])
                return original(*arrays)

            return wrapped

        with monkeypatch.context() as patch:
            for module, name in (
                (route, "_blocked"),
                (exchange, "_crossings"),
                (exchange, "_nodes_on_edges"),
            ):
                patch.setattr(module, name, counted(getattr(module, name)))
            render_model(chain(length), fold=False).render("svg")
        return count

    assert pairs(400) <= 2.2 * pairs(200)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_what_an_exchange_changes_is_the_difference_of_the_whole_costs(data: Any) -> None:
    number = data.draw(st.integers(2, 8))
    names = [f"n{i}" for i in range(number)]
    numbers = st.integers(0, number - 1)
    ends = data.draw(st.lists(st.tuples(numbers, numbers), max_size=12))
    nodes = tuple(Node(name, "latent") for name in names)
    graph = Graph(nodes, (), ()).with_edges(*(Edge(names[a], names[b]) for a, b in ends))
    place = st.tuples(st.integers(-3, 3), st.integers(0, 3))
    before = {name: data.draw(place) for name in names}
    after = before | {name: data.draw(place) for name in data.draw(st.sets(st.sampled_from(names)))}
    cost = exchange._Cost(graph, before)
    all_nodes, all_edges = np.ones(number, bool), np.ones(len(cost.ends), bool)
    whole = [cost._cost(cost._as_array(at), all_nodes, all_edges) for at in (before, after)]
    assert cost.change(after) == pytest.approx(whole[1] - whole[0])
