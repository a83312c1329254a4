"""A program drawn on data: the sizes are those of all rows, though it is called on a few."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from refused import refused

from pyro_vae import fit, load, render_model
from pyro_vae.graph.of_data import ROWS
from pyro_vae.models import VAE

X = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))


def regression(x, y):
    w = pyro.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1))
    with pyro.plate("rows", len(x)):
        mean = pyro.deterministic("mean", x @ w)
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def sizes(graph) -> dict[str, tuple[int | None, int | None]]:
    return {p.name: (p.size, p.subsample_size) for p in graph.plates}


def test_a_fitted_program_shows_all_its_data() -> None:
    data = load("digits", binarize="threshold")
    program = fit(VAE((1, 8, 8), 2), data, epochs=1, progress=False).program
    graph = render_model(program, data=data)
    for each in (graph.model, graph.guide):
        assert sizes(each) == {"data": (1397, 1397)}
        assert each.by_name["z"].batch_shape == (1397,)
    assert graph.guide.by_name["x"].batch_shape == (1397, 1, 8, 8)
    assert graph.model.by_name["likelihood"].count > 0


@pytest.mark.parametrize("rows", [2, ROWS, ROWS + 1, 500])
def test_it_is_the_graph_of_a_call_on_all(rows) -> None:
    x = X[:rows]
    data = (x, x[:, 0].clone())  # not the memory of x, which would be one and the same argument
    expected, found = render_model(regression, data), render_model(regression, data=data)
    assert found.to_dict() == expected.to_dict()
    assert found.text == expected.text


def test_another_size_that_happens_to_be_that_of_the_few_rows_stays() -> None:
    def model(x):
        with pyro.plate("groups", ROWS, dim=-2):
            mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", len(x), dim=-1):
            pyro.sample("x", dist.Normal(mean.mean(0), 1.0), obs=x)

    assert sizes(render_model(model, data=X[:, 0]).model) == {
        "groups": (ROWS, ROWS),
        "rows": (500, 500),
    }


def test_a_subsampled_plate_has_its_own_size() -> None:
    def model(x):
        with pyro.plate("rows", 10_000, subsample=x):
            pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    assert sizes(render_model(model, data=X[:, 0]).model) == {"rows": (10_000, 500)}


def test_parameters_of_each_row_are_those_of_all_rows() -> None:
    def model(x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            s = pyro.sample("s", dist.HalfNormal(1.0))
            pyro.sample("x", dist.Normal(z, s), obs=x)

    unset, fitted = AutoNormal(model), AutoNormal(model)
    fitted(X[:, 0])
    for guide in (unset, fitted):
        graph = render_model(model, data=X[:, 0], guide=guide)
        assert graph.guide.by_name["locs.z"].count == 500
        assert sizes(graph.guide) == {"rows": (500, 500)}


def test_a_loop_over_the_rows_has_all_steps() -> None:
    def walk(x):
        z = torch.zeros(())
        for t in pyro.markov(range(len(x))):
            z = pyro.sample(f"z_{t}", dist.Normal(z, 1.0))
            pyro.sample(f"x_{t}", dist.Normal(z, 0.1), obs=x[t])

    graph = render_model(walk, data=X[:80, 0])
    assert "z_79" in graph.model.by_name
    assert "77 of 80 steps" in graph.text


def test_one_call_or_data() -> None:
    with refused("data", remedy="one of them"):
        render_model(regression, (X, X[:, 0]), data=(X, X[:, 0]))
    with refused("data"):
        render_model(regression, data="nothing")
