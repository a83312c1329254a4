"""Dependences that tensors do not show: found by experiment, reported, declared."""

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from diagrams import edges, normal
from torch import nn

from pyro_vae.graph import render_model


def test_a_plain_number_of_a_sample_is_found_by_experiment():
    def model():
        z = normal("z", 0.0)
        normal("a", 2 * z.item())
        normal("b", torch.as_tensor(np.exp(z.detach().numpy())))
        normal("c", torch.tensor([float(z), 1.0]).sum())
        normal("d", sum(z.expand(2).tolist()))
        normal("e", 0.0)

    graph = render_model(model)
    assert edges(graph.model) == {("z", name) for name in "abcd"}
    assert {e.how for e in graph.model.edges} == {"untracked"}
    assert all("untracked" in graph.model.by_name[name].marks for name in "abcd")
    assert graph.model.by_name["e"].marks == ()
    assert len(graph.warnings) == 4
    assert all("'z'" in warning and "of test_untracked.py" in warning for warning in graph.warnings)


def test_a_value_read_through_a_deterministic_site_is_traced_back():
    def model():
        z = normal("z", 0.0)
        twice = pyro.deterministic("twice", 2 * z)
        normal("y", twice.item())

    assert ("z", "y") in edges(render_model(model).model)


def test_a_branch_shows_both_its_ways():
    def model():
        coin = pyro.sample("coin", dist.Bernoulli(0.5))
        if coin:
            normal("heads", 0.0)
        else:
            normal("tails", 0.0)

    graph = render_model(model)
    assert edges(graph.model) == {("coin", "heads"), ("coin", "tails")}
    assert any("branches" in warning for warning in graph.warnings)


def test_a_loop_whose_length_is_a_sample():
    def model():
        n = pyro.sample("n", dist.Categorical(torch.ones(4)))
        for i in range(int(n)):
            normal(f"x_{i}", 0.0)

    assert edges(render_model(model).model) == {("n", f"x_{i}") for i in range(3)}


def test_reading_values_of_data_is_allowed():
    def model(x, lengths):
        steps = int(lengths.max())
        if (x > 10).any():
            raise ValueError
        z = normal("z", torch.zeros(steps))
        normal("y", z, obs=x[:steps])

    graph = render_model(model, (torch.zeros(5), torch.tensor([2, 3])))
    assert edges(graph.model) == {("z", "y")}


def test_lost_parameters_are_reported():
    weight = nn.Parameter(torch.ones(()))

    class Lost(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = weight

        def model(self):
            normal("y", self.weight.item())

    (warning,) = render_model(Lost().model).warnings
    assert "'weight'" in warning
    assert "edges=" in warning


def test_declared_edges():
    def model():
        z = normal("z", 0.0)
        normal("y", 2 * z.item())
        normal("w", 0.0)

    graph = render_model(model, edges=[("z", "y"), ("y", "w")])
    assert {(e.source, e.target): e.how for e in graph.model.edges} == {
        ("z", "y"): "declared",
        ("y", "w"): "declared",
    }
    assert graph.warnings == ()
    assert graph.model.by_name["y"].marks == ()


def test_samples_without_time_to_examine_are_reported(monkeypatch):
    monkeypatch.setattr("pyro_vae.graph.record.untracked.MAX_SECONDS", -1.0)
    graph = render_model(lambda: normal("y", normal("z", 0.0).item()))
    assert edges(graph.model) == set()
    (warning,) = graph.warnings
    assert "'z' becomes a plain number" in warning
    assert "edges=" in warning
