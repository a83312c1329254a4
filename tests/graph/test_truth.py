"""Edges are right: every kind of dependence is found, and independent nodes are not joined."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from diagrams import edges, normal
from pyro.infer.inspect import get_model_relations
from torch import nn

from pyro_vae.graph import render_model


def parents_of_y(function, shape=(3,)):
    """Return the parents of y ~ Normal(function(z, w), 1), where z and w are samples of the shape."""

    def model():
        z, w = normal("z", torch.zeros(shape)), normal("w", torch.zeros(shape))
        loc = function(z, w)
        pyro.sample("y", dist.Normal(loc, 1.0).to_event(loc.dim()))

    return set(render_model(model, render_params=False).model.parents("y"))


DEPENDS = {
    "arithmetic": lambda z, w: z * 2 + 1,
    "matmul": lambda z, w: torch.eye(3) @ z,
    "index": lambda z, w: z[torch.tensor([0, 2])],
    "slice": lambda z, w: z[1:],
    "stack": lambda z, w: torch.stack([z, torch.zeros(3)]),
    "where": lambda z, w: torch.where(z > 0, 1.0, 0.0),
    "in place": lambda z, w: torch.zeros(3).add_(z),
    "item assignment": lambda z, w: assigned(torch.zeros(2, 3), z),
    "view of a buffer": lambda z, w: written_by_view(torch.zeros(2, 3), z),
    "out=": lambda z, w: torch.exp(z, out=torch.zeros(3)),
    "cumulative": lambda z, w: z.cumsum(0).flip(0),
    "reduction": lambda z, w: z.logsumexp(0),
    "sort": lambda z, w: z.sort().values,
    "einsum": lambda z, w: torch.einsum("i,j->ij", z, torch.ones(3)),
    "cast": lambda z, w: z.double().float(),
    "linear algebra": lambda z, w: torch.linalg.solve(torch.eye(3), z),
    "cholesky": lambda z, w: torch.linalg.cholesky(torch.eye(3) + 0.01 * z.outer(z)),
    "recurrent": lambda z, w: nn.GRU(1, 2)(z[:, None])[0],
    "convolution": lambda z, w: nn.functional.conv1d(z.expand(1, 1, 3), torch.ones(1, 1, 2)),
    "detach": lambda z, w: z.detach().clone(),
    "list": lambda z, w: torch.stack([v * 2 for v in z]),
}


DOES_NOT = {
    "zeros_like": lambda z, w: torch.zeros_like(z),
    "new_ones": lambda z, w: z.new_ones(3),
    "randn_like": lambda z, w: torch.randn_like(z),
    "shape": lambda z, w: torch.zeros(z.shape),
    "expand_as": lambda z, w: torch.zeros(()).expand_as(z),
    "overwritten": lambda z, w: (z + 1).zero_(),
    "fresh contents": lambda z, w: torch.empty_like(z).fill_(1.0),
    "dtype": lambda z, w: torch.zeros(3).type_as(z),
}


def assigned(buffer, z):
    buffer[0] = z
    return buffer


def written_by_view(buffer, z):
    buffer[1].copy_(z)
    return buffer


@pytest.mark.parametrize("way", DEPENDS)
def test_dependence_is_seen(way):
    assert parents_of_y(DEPENDS[way]) == {"z"}


@pytest.mark.parametrize("way", DOES_NOT)
def test_independence_is_seen(way):
    assert parents_of_y(DOES_NOT[way]) == set()


def test_overwriting_the_whole_forgets_what_was_there():
    assert parents_of_y(lambda z, w: (z + 1).copy_(w)) == {"w"}
    assert parents_of_y(lambda z, w: z.clone().index_copy_(0, torch.tensor([0]), w[:1])) == {
        "z",
        "w",
    }


def test_only_direct_parents():
    def model():
        a = normal("a", 0.0)
        b = normal("b", a)
        c = pyro.deterministic("c", b + 1)
        normal("d", c)

    assert edges(render_model(model).model) == {("a", "b"), ("b", "c"), ("c", "d")}
    joined = render_model(model, render_deterministic=False).model
    assert edges(joined) == {("a", "b"), ("b", "d")}
    assert "c" not in joined.by_name


def test_arguments_that_feed_a_site_are_data():
    def model(batch, scale, y=None):
        normal("y", batch["x"] * scale[0], obs=y)

    arguments = ({"x": torch.zeros(3), "unused": torch.zeros(2)}, [torch.ones(3)])
    graph = render_model(model, arguments, {"y": torch.zeros(3)}).model
    assert edges(graph) == {("batch[x]", "y"), ("scale[0]", "y")}
    assert {n.name: n.kind for n in graph.nodes} == {
        "batch[x]": "data",
        "scale[0]": "data",
        "y": "observed",
    }


@pytest.mark.parametrize("turn", [torch.tensor, torch.as_tensor, torch.from_numpy])
def test_numpy_arguments_are_followed_into_tensors(turn):
    graph = render_model(lambda x: normal("y", turn(x[1:]) * 2), (np.arange(4.0),)).model
    assert edges(graph) == {("x", "y")}


def test_data_that_a_site_observes_are_that_site():
    def model(x, y):
        normal("x", torch.zeros(3), obs=x)
        normal("y", x, obs=y)

    assert edges(render_model(model, (torch.zeros(3), torch.zeros(3))).model) == {("x", "y")}


def test_an_autoregressive_site_has_its_own_past_as_data():
    def model(x):
        normal("x", torch.cat([torch.zeros(1), x[:-1]]), obs=x)

    assert edges(render_model(model, (torch.zeros(3),)).model) == {("x (data)", "x")}


def test_distributions_with_inner_parts_and_transforms():
    flow = dist.transforms.affine_autoregressive(2, hidden_dims=[4])

    def model():
        z = normal("z", 0.0)
        base = dist.Normal(torch.zeros(2), 1.0).to_event(1)
        pyro.sample("flow", dist.TransformedDistribution(base, [flow]))
        pyro.sample("beta", dist.Beta(z.exp(), 1.0))
        pyro.sample("tau", dist.HalfCauchy(z.exp()))
        probs = torch.stack([z.sigmoid(), 1 - z.sigmoid()])
        pyro.sample("onehot", dist.OneHotCategorical(probs))
        mix = dist.MixtureSameFamily(dist.Categorical(probs), dist.Normal(torch.zeros(2), 1.0))
        pyro.sample("mix", mix.mask(torch.tensor(True)))

    graph = render_model(model).model
    assert edges(graph) == {
        ("flow (parameters)", "flow"),
        *(("z", name) for name in ("beta", "tau", "onehot", "mix")),
    }
    nodes = graph.by_name
    assert nodes["beta"].arguments == ("concentration1", "concentration0")
    assert nodes["tau"].arguments == ("scale",)
    assert nodes["onehot"].arguments == ("probs",)
    assert nodes["tau"].support == "nonnegative"


def test_dimensions_do_not_matter(monkeypatch):
    """A network of 2e9 weights without memory is drawn: nothing of real size is computed."""
    with torch.device("meta"):
        net = nn.Linear(2**16, 2**15)

    def model():
        z = pyro.sample("z", dist.Normal(torch.zeros(()).expand(2**16), 1.0).to_event(1))
        pyro.sample("y", dist.Normal(net(z).exp(), 1.0).to_event(1))

    graph = render_model(model).model
    assert edges(graph) == {("z", "y"), ("net", "y")}
    assert graph.by_name["y"].event_shape == (2**15,)


def nested():
    a = normal("a", 0.0)
    with pyro.plate("outer", 3, dim=-2):
        b = normal("b", a)
        with pyro.plate("inner", 2, dim=-1):
            c = normal("c", b)
            normal("d", b + c, obs=torch.zeros(3, 2))


def overlapping():
    with pyro.plate("p", 2, dim=-1):
        a = normal("a", 0.0)
    with pyro.plate("p2", 2, dim=-1), pyro.plate("q", 3, dim=-2):
        b = normal("b", a.sum())
    pyro.factor("f", b.sum())


def discrete():
    p = pyro.sample("p", dist.Dirichlet(torch.ones(3)))
    k = pyro.sample("k", dist.Categorical(p))
    means = pyro.sample("means", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    normal("x", means[k], obs=torch.tensor(0.0))


def with_deterministic():
    a = normal("a", 0.0)
    b = pyro.deterministic("b", a.exp())
    rate = pyro.param("rate", torch.tensor(1.0), constraint=dist.constraints.positive)
    pyro.sample("c", dist.Gamma(b, rate), obs=torch.tensor(1.0))


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("model", [nested, overlapping, discrete, with_deterministic])
def test_every_edge_that_pyro_finds_is_found(model, include):
    theirs = get_model_relations(model, include_deterministic=include)
    pyro.clear_param_store()
    # Pyro lists deterministic sites as nodes either way; what it joins past them is the difference
    whole = render_model(model).model
    joined = render_model(model, render_deterministic=False).model
    found = edges(whole) | edges(joined)
    samples = {(p, c) for c, parents in theirs["sample_sample"].items() for p in parents}
    params = {(p, c) for c, parents in theirs["sample_param"].items() for p in parents}
    assert samples | params <= found
    assert {n.name for n in whole.nodes if n.kind == "observed"} >= set(theirs["observed"]) - {
        n.name for n in whole.nodes if n.kind in ("deterministic", "factor")
    }
    for plate, members in theirs["plate_sample"].items():
        assert set(members) <= set(whole.members(plate.removesuffix("__CLONE")))


def test_indices_of_one_number_are_followed():
    def model():
        k = pyro.sample("k", dist.Categorical(torch.ones(3)))
        means = normal("means", torch.zeros(3))
        table = torch.zeros(3, 2)
        table[k, 0] = 1.0
        normal("x", means[k])
        normal("y", table[0].sum())

    graph = render_model(model)
    assert edges(graph.model) == {("k", "x"), ("means", "x"), ("k", "y")}
    assert graph.warnings == ()


def test_tensors_inside_pyro_gaussians_are_tracked():
    def model(x):
        s = pyro.sample("s", dist.LogNormal(0.0, 1.0))
        noise = dist.Normal(torch.zeros(2), s).to_event(1)
        unit = dist.Normal(torch.zeros(2), 1.0).to_event(1)
        hmm = dist.GaussianHMM(noise, torch.eye(2), unit, torch.eye(2), unit)
        pyro.sample("x", hmm, obs=x)

    assert edges(render_model(model, (torch.zeros(7, 2),)).model) == {("s", "x")}
