"""Edges are right: every kind of dependence is found, and independent nodes are not joined."""

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.inspect import get_model_relations
from pyro.nn import PyroModule, PyroParam, PyroSample
from refused import refused
from torch import nn

from pyro_vae.graph import render_model
from pyro_vae.graph.palette import has_warning


def normal(name, loc, obs=None):
    return pyro.sample(name, dist.Normal(loc, 1.0), obs=obs)


def edges(graph):
    return {(e.source, e.target) for e in graph.edges}


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
    assert all("'z'" in warning and "test_truth.py:" in warning for warning in graph.warnings)


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


def test_a_sequential_plate_folds_into_one():
    def model(x):
        z = normal("z", 0.0)
        for i in pyro.plate("steps", 3):
            normal(f"x_{i}", z, obs=x[i])

    whole = render_model(model, (torch.zeros(3),)).model
    assert [n.plates for n in whole.nodes if n.name != "z"] == [("steps",)] * 3
    folded = render_model(model, (torch.zeros(3),), fold=True).model
    assert edges(folded) == {("z", "x_t")}
    assert folded.by_name["x_t"].plates == ("steps",)
    assert [(p.name, p.size) for p in folded.plates] == [("steps", 3)]


def test_plates_of_single_steps_fold_into_one():
    def model():
        for t in range(3):
            z = normal(f"z_{t}", 0.0)
            with pyro.plate(f"notes_{t}", 5):
                normal(f"x_{t}", z)

    folded = render_model(model, fold=True).model
    assert edges(folded) == {("z_t", "x_t")}
    assert folded.by_name["x_t"].plates == ("notes_t", "t")
    assert {p.name: p.size for p in folded.plates} == {"notes_t": 5, "t": 3}


def test_two_alike_sites_are_not_a_loop():
    def model():
        normal("z_2", normal("z_1", 0.0))

    assert edges(render_model(model, fold=True).model) == {("z_1", "z_2")}


def test_a_loop_of_second_order():
    def model():
        z = [normal("z_0", 0.0), normal("z_1", 0.0)]
        for t in range(2, 6):
            z.append(normal(f"z_{t}", z[-1] + z[-2]))

    folded = render_model(model, fold=True).model
    assert [(e.source, e.target, e.lag) for e in folded.edges] == [
        ("z_t", "z_t", 1),
        ("z_t", "z_t", 2),
    ]


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


def test_samples_without_time_to_examine_are_reported(monkeypatch):
    monkeypatch.setattr("pyro_vae.graph.record.untracked.MAX_SECONDS", -1.0)
    graph = render_model(lambda: normal("y", normal("z", 0.0).item()))
    assert edges(graph.model) == set()
    (warning,) = graph.warnings
    assert "'z' becomes a plain number" in warning
    assert "edges=" in warning


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
