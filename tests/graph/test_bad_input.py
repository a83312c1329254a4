"""What a person can get wrong: one clear sentence each."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_vae.errors import InputError
from pyro_vae.graph import render_model


def model(x):
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(z, 1.0), obs=x)


X = torch.tensor(1.0)


def refused(match, *args, **kwargs):
    with pytest.raises(InputError, match=match) as caught:
        render_model(*args, **kwargs)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_a_missing_argument():
    refused(
        r"model cannot be called like this: missing a required argument: 'x'.*model\(x\)", model
    )
    refused("guide cannot be called", model, (X,), guide=lambda: None)


def test_arguments_that_are_no_tuple():
    refused(r"tuple of arguments, such as \(x,\).*got Tensor", model, X)
    refused("got Tensor", model, [X])
    refused("dict", model, (), [("x", X)])
    refused("equally many", model, [(X,), (X,)], [{}])
    refused("one at least", model, [])


def test_a_model_that_raises_names_the_site():
    def broken(x):
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0))
        pyro.sample("x", dist.Normal(torch.ones(5) @ z, 1.0), obs=x)

    refused("the model raised RuntimeError after site 'z'", broken, (X,))
    refused("the guide raised .* after site 'z'", model, (X,), guide=broken)


def test_a_site_given_twice():
    def twice():
        pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("z", dist.Normal(0.0, 1.0))

    refused("'z'", twice)


def test_no_sites():
    refused("no sample statements", lambda: None)


def test_no_program():
    refused("int is no program", 3)
    refused("no program", (model, 3))


def test_an_unknown_ending(tmp_path):
    refused("ending 'svgg'; did you mean 'svg'", model, (X,), filename=tmp_path / "graph.svgg")
    refused("ending ''; known: svg, png", model, (X,), filename=tmp_path / "graph")


def test_a_file_that_cannot_be_written(tmp_path):
    refused("cannot write .*No such file", model, (X,), filename=tmp_path / "no" / "graph.svg")
    (tmp_path / "folder.svg").mkdir()
    refused("cannot write .*Is a directory", model, (X,), filename=tmp_path / "folder.svg")


def test_declared_edges_between_unknown_nodes():
    refused("no node 'zz'; did you mean 'z'", model, (X,), edges=[("zz", "x")])


def test_a_guide_without_sites_is_drawn():
    graph = render_model(model, (X,), guide=lambda x: None)
    assert graph.guide is not None
    assert graph.guide.nodes == ()
    assert "missing in the guide" in graph.warnings[0]
    assert "no sample statements" in graph.svg
    assert "(no statements)" in graph.text
