"""Marks of nodes, and faults of guides."""

import pyro
import pyro.distributions as dist
import torch
from diagrams import normal
from pyro import poutine

from pyro_vae.graph import render_model
from pyro_vae.graph.palette import has_warning


def test_marks():
    def model(x):
        with poutine.scale(scale=0.5):
            normal("scaled", 0.0)
        with poutine.mask(mask=torch.tensor(False)):
            normal("masked", 0.0)
        pyro.sample("discrete", dist.Poisson(1.0))
        pyro.sample("k", dist.Categorical(torch.ones(2)), infer={"enumerate": "parallel"})
        normal("given", 0.0)
        with pyro.plate("data", 10, subsample_size=5):
            normal("subsampled", torch.zeros(5))

    conditioned = poutine.condition(model, data={"given": torch.tensor(1.0)})
    nodes = render_model(conditioned, (None,)).model.by_name
    assert {name: node.marks for name, node in nodes.items()} == {
        "scaled": ("scaled",),
        "masked": ("masked",),
        "discrete": ("discrete",),
        "k": ("discrete", "enumerated"),
        "given": ("conditioned",),
        "subsampled": (),
    }
    assert nodes["given"].kind == "observed"


def test_what_the_guide_lacks_or_has_too_much_is_marked():
    def model():
        normal("both", 0.0)
        normal("forgotten", 0.0)
        normal("seen", 0.0, obs=torch.tensor(1.0))
        pyro.deterministic("computed", torch.tensor(1.0))
        pyro.sample("k", dist.Categorical(torch.ones(2)), infer={"enumerate": "parallel"})

    def guide():
        normal("both", 0.0)
        normal("surplus", 0.0)
        normal("seen", 0.0)
        normal("computed", 0.0)
        pyro.sample("helper", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})

    graph = render_model(model, guide=guide)
    assert graph.guide is not None
    marks = {n.name: n.marks for n in (*graph.model.nodes, *graph.guide.nodes)}
    assert "not in guide" in graph.model.by_name["forgotten"].marks
    assert "not in guide" not in graph.model.by_name["k"].marks
    assert "not in model" in marks["surplus"]
    assert "observed in model" in graph.guide.by_name["seen"].marks
    assert "computed in model" in graph.guide.by_name["computed"].marks
    assert all(has_warning(graph.guide.by_name[name]) for name in ("surplus", "seen", "computed"))
    assert "auxiliary" in marks["helper"]
    assert len(graph.warnings) == 4
