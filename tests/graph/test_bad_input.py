"""What a person can get wrong: one clear sentence each."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused

from pyro_vae.errors import InputError
from pyro_vae.graph import render_model


def model(x):
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    pyro.sample("x", dist.Normal(z, 1.0), obs=x)


X = torch.tensor(1.0)


def is_short(error):
    return len(str(error)) < 400 and "\n" not in str(error)


def test_a_missing_argument():
    with refused("model", remedy="model_args") as caught:
        render_model(model)
    assert "model(x)" in str(caught.value)
    assert "'x'" in str(caught.value)
    assert is_short(caught.value)
    with refused("guide", remedy="model_args"):
        render_model(model, (X,), guide=lambda: None)


def test_arguments_that_are_no_tuple():
    with refused("model_args", expected="(x,)") as caught:
        render_model(model, X)
    assert "Tensor" in str(caught.value)
    with refused("model_args", expected="(x,)") as caught:
        render_model(model, [X])
    assert "Tensor" in str(caught.value)
    with refused("model_kwargs", expected="a dict"):
        render_model(model, (), [("x", X)])
    with refused("model_args", expected="as many of both"):
        render_model(model, [(X,), (X,)], [{}])
    with refused("model_args", expected="at least one"):
        render_model(model, [])


@pytest.mark.parametrize("part", ["model", "guide"])
def test_a_program_that_raises_names_the_site(part):
    def broken(x):
        z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0))
        pyro.sample("x", dist.Normal(torch.ones(5) @ z, 1.0), obs=x)

    functions = {"model": model, "guide": model, part: broken}
    with pytest.raises(InputError) as caught:
        render_model(functions["model"], (X,), guide=functions["guide"])
    message = str(caught.value)
    assert part in message
    assert "RuntimeError" in message
    assert "'z'" in message
    assert is_short(caught.value)


def test_a_site_given_twice():
    def twice():
        pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("z", dist.Normal(0.0, 1.0))

    with refused("z") as caught:
        render_model(twice)
    assert is_short(caught.value)


def test_no_sites():
    with refused("model"):
        render_model(lambda: None)


@pytest.mark.parametrize(("program", "kind"), [(3, "int"), ((model, 3), "tuple")])
def test_no_program(program, kind):
    with refused("program", expected="`.model` and `.guide`") as caught:
        render_model(program)
    assert is_short(caught.value)


def test_an_unknown_ending(tmp_path):
    for name in ("graph.svgg", "graph"):
        with refused("filename", expected=".svg, .png", remedy="graph.svg"):
            render_model(model, (X,), filename=tmp_path / name)
    with refused("ending"):
        render_model(model, (X,)).render("svgg")


def test_a_file_that_cannot_be_written(tmp_path):
    for name, reason in (("no/graph.svg", "No such file"), ("folder.svg", "Is a directory")):
        (tmp_path / "folder.svg").mkdir(exist_ok=True)
        with refused(str(tmp_path / name)) as caught:
            render_model(model, (X,), filename=tmp_path / name)
        assert reason in str(caught.value)


def test_declared_edges_between_unknown_nodes():
    with refused("edges") as caught:
        render_model(model, (X,), edges=[("zz", "x")])
    assert "'zz'" in str(caught.value)
    assert "'z'" in str(caught.value)


def test_a_guide_without_sites_is_drawn():
    graph = render_model(model, (X,), guide=lambda x: None)
    assert graph.guide is not None
    assert graph.guide.nodes == ()
    assert "missing in the guide" in graph.warnings[0]
    assert "the guide draws nothing</text>" in graph.svg
    assert "(no statements)" in graph.text


def test_a_guide_that_needs_no_sites_is_no_fault():
    def summed(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(z, 1.0), obs=x[:, 0])

    def known(x):
        pyro.sample("x", dist.Normal(torch.zeros(4, 3), 1.0).to_event(2), obs=x)

    for program, reason in ((summed, "the model sums its latents out"), (known, "has no latents")):
        graph = render_model(program, (torch.zeros(4, 3),), guide=lambda x: None)
        assert graph.warnings == ()
        (remark,) = graph.shown.remarks
        assert remark.startswith("the guide draws nothing: ")
        assert reason in remark
        assert remark in graph.text
