"""The numbers of a diagram: constants among a distribution's parameters, and shapes in plates."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyro_vae import render_model

X = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))


def shown(model, *args, **options) -> dict[str, str]:
    """The distribution of each site, as the diagram has it."""
    graph = render_model(model, args, **options)
    names = {node.name for node in graph.model.nodes if node.kind in ("latent", "observed")}
    texts = {
        shape.node.name: [t.text for t in shape.texts] for shape in graph.scene.panels[0].nodes
    }
    return {name: texts[name][1] for name in names}


PRIORS = {
    "Normal(0, 5)": lambda: dist.Normal(0.0, 5.0),
    "Normal(0, 1)": lambda: dist.Normal(torch.zeros(3), torch.ones(3)).to_event(1),
    "HalfCauchy(2.5)": lambda: dist.HalfCauchy(2.5),
    "Beta(2, 5)": lambda: dist.Beta(2.0, 5.0),
    "Gamma(2, 0.1)": lambda: dist.Gamma(2, 0.1),
    "LogNormal(0, 1)": lambda: dist.LogNormal(0.0, 1.0),
    "Dirichlet(1)": lambda: dist.Dirichlet(torch.ones(4)),
    "Dirichlet(concentration)": lambda: dist.Dirichlet(torch.tensor([1.0, 2.0])),
    "MultivariateNormal(0, I)": lambda: dist.MultivariateNormal(torch.zeros(2), torch.eye(2)),
    "LKJCholesky(2)": lambda: dist.LKJCholesky(3, 2.0),
    "Normal(loc, 0.667)": lambda: dist.Normal(torch.arange(3.0), 2 / 3).to_event(1),
    "Normal(0.693, 1)": lambda: dist.Normal(torch.tensor(2.0).log(), 1.0),
}


@pytest.mark.parametrize("reads_values", [False, True])
@pytest.mark.parametrize("text", PRIORS)
def test_constants_are_numbers(text, reads_values) -> None:
    def model():
        z = pyro.sample("z", PRIORS[text]())
        if reads_values:  # so that the run is one on values
            float(z.sum())

    assert shown(model) == {"z": text}
    assert "(0" not in shown(model, render_numbers=False)["z"]


def test_what_is_no_constant_keeps_its_name() -> None:
    scale = nn.Parameter(torch.tensor(1.0))

    def model(x):
        a = pyro.sample("a", dist.Normal(0.0, scale))
        b = pyro.sample("b", dist.Normal(a, 0.1))
        pyro.sample("c", dist.Normal(x.mean(), b.exp()))
        pyro.sample("noise", dist.Normal(torch.randn(()), 1.0))
        written = torch.zeros(())
        written.fill_(3.0) if len(x) == 7 else written.copy_(x[0, 0])
        pyro.sample("written", dist.Normal(written, 1.0))

    expected = {
        "a": "Normal(0, scale)",
        "b": "Normal(loc, 0.1)",
        "c": "Normal(loc, scale)",
        "noise": "Normal(loc, 1)",
        "written": "Normal(loc, 1)",
    }
    assert shown(model, X) == expected
    assert {name: shown(model, torch.zeros(7, 2))[name] for name in expected} == expected


def test_steps_of_a_loop_show_what_they_share() -> None:
    def chain(x):
        z = torch.zeros(())
        for t in pyro.markov(range(len(x))):
            z = pyro.sample(f"z_{t}", dist.Normal(z, 0.5))
            pyro.sample(f"x_{t}", dist.Normal(z, 0.1 + t), obs=x[t])

    assert shown(chain, X[:, 0], fold=True) == {
        "z_t": "Normal(loc, 0.5)",
        "x_t": "Normal(loc, scale)",
    }


def test_a_constant_of_the_program_is_not_changed() -> None:
    counter = torch.zeros(())

    def model():
        counter.add_(1.0)
        pyro.sample("z", dist.Normal(counter, 1.0))

    assert shown(model) == {"z": "Normal(loc, 1)"}
    assert counter == 0


@pytest.mark.parametrize(
    ("name", "batch", "event"),
    [
        ("of_rows", [6], []),
        ("of_rows_too", [6], [2]),
        ("declared", [6], [2]),
        ("scalar", [6], []),
        ("of_cells", [2, 6], []),
        ("of_cells_too", [2, 6], [5]),
        ("alone", [], [4]),
    ],
)
def test_a_deterministic_value_lies_in_its_plates(name, batch, event) -> None:
    def model(x):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.deterministic("alone", a.expand(4))
        with pyro.plate("rows", len(x), dim=-1):
            pyro.deterministic("of_rows", a + x[:, 0])
            pyro.deterministic("of_rows_too", a + x)
            pyro.deterministic("declared", a + x, event_dim=1)
            pyro.deterministic("scalar", 2 * a)
            with pyro.plate("columns", 2, dim=-2):
                pyro.deterministic("of_cells", a + x.T)
                pyro.deterministic("of_cells_too", a + torch.zeros(2, 6, 5))

    (node,) = [
        n for n in render_model(model, (X,)).to_dict()["model"]["nodes"] if n["name"] == name
    ]
    assert (node["batch_shape"], node["event_shape"]) == (batch, event)
