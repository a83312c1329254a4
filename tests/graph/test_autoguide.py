"""Latents that a guide draws together are one node of the picture; the graph as data has each of them."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import autoguide

from pyro_vae import render_model
from pyro_vae.guides import AutoAmortized

DATA = (torch.ones(8), torch.zeros(8))
ALL = "(mu, tau, theta)"


def schools(sigma, y):
    mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
    tau = pyro.sample("tau", dist.HalfCauchy(5.0))
    with pyro.plate("schools", len(sigma)):
        theta = pyro.sample("theta", dist.Normal(mu, tau))
        pyro.sample("y", dist.Normal(theta, sigma), obs=y)


def pictured(guide, **options):
    """The latents of a guide, with their words; its parameters, with their number."""
    graph = render_model(schools, DATA, guide=guide, **options).shown.graphs["guide"].grouped()
    latents = {n.name: n.distribution for n in graph.nodes if n.kind == "latent"}
    return latents, {n.name: n.count for n in graph.nodes if n.kind == "parameters"}


FAMILIES = {
    "AutoNormal": ("independent normals", 20),
    "AutoDelta": ("point estimates", 10),
    "AutoDiagonalNormal": ("independent normals", 20),
    "AutoMultivariateNormal": ("multivariate normal", 120),
    "AutoLowRankMultivariateNormal": ("low-rank multivariate normal", 50),
    "AutoLaplaceApproximation": ("point estimate", 10),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_an_autoguide_is_one_node_and_one_box(name) -> None:
    words, count = FAMILIES[name]
    guide = getattr(autoguide, name)(schools)
    assert pictured(guide) == ({ALL: words}, {name: count})
    graph = render_model(schools, DATA, guide=guide)
    assert {"mu", "tau", "theta"} <= graph.guide.by_name.keys()  # as data
    assert graph.warnings == ()
    latents, _ = pictured(guide, fold_guide=False)
    assert {"mu", "tau", "theta"} <= latents.keys()


@pytest.mark.parametrize("ending", ["svg", "tex", "tikz", "dot", "mmd", "txt"])
def test_every_picture_and_text_has_the_same_node(ending) -> None:
    graph = render_model(schools, DATA, guide=autoguide.AutoMultivariateNormal(schools))
    made = graph.render(ending).decode()
    assert "multivariate normal" in made.replace(r"\ ", " ")
    assert "AutoMultivariateNormal" in made
    assert "_latent" not in made


def test_the_parts_of_a_list() -> None:
    guide = autoguide.AutoGuideList(schools)
    guide.append(autoguide.AutoMultivariateNormal(poutine.block(schools, expose=["mu", "tau"])))
    guide.append(autoguide.AutoNormal(poutine.block(schools, expose=["theta"])))
    assert pictured(guide) == (
        {"(mu, tau)": "multivariate normal", "theta": "Normal"},
        {"0.AutoMultivariateNormal": 8, "1.locs.theta, 1.scales.theta": 16},
    )


def test_the_joint_latents_of_a_made_guide() -> None:
    guide = AutoAmortized(schools, *DATA)
    graph = render_model(schools, DATA, guide=guide).shown.graphs["guide"]
    assert graph.by_name["(mu, tau)"].distribution == "skewed multivariate Student t"
    assert "(mu, tau)" in graph.parents("theta")
    assert graph.by_name["theta"].plates == ("schools",)


def test_a_joint_draw_of_one_latent_keeps_its_place() -> None:
    """A made guide draws the weights of a mixture so, and reads the draw for the components."""

    def guide(sigma, y):
        loc = pyro.param("loc", torch.zeros(2))
        drawn = pyro.sample(
            "_both", dist.Normal(loc, 1.0).to_event(1), infer={"is_auxiliary": True}
        )
        pyro.sample("mu", dist.Delta(drawn[..., 0]))
        pyro.sample("tau", dist.LogNormal(drawn[..., 1], 1.0))
        with pyro.plate("schools", 8):
            pyro.sample("theta", dist.Normal(0.0, 1.0))

    graph = render_model(schools, DATA, guide=guide).shown.graphs["guide"]
    assert "_both" not in graph.by_name
    assert graph.parents("mu") == ("loc",)
    assert graph.parents("tau") == ("mu",)


def test_a_pair_has_the_name_of_its_model() -> None:
    graph = render_model((schools, autoguide.AutoNormal(schools)), DATA)
    assert graph.title == "schools"


def test_a_persons_own_guide_stays_as_it_is() -> None:
    def guide(sigma, y):
        for name in ("mu", "tau"):
            pyro.sample(name, dist.Normal(pyro.param(f"{name}_loc", torch.tensor(0.0)), 1.0))
        with pyro.plate("schools", 8):
            pyro.sample("theta", dist.Normal(pyro.param("theta_loc", torch.zeros(8)), 1.0))

    assert set(pictured(guide)[0]) == {"mu", "tau", "theta"}


def test_a_latent_that_is_wrong_is_not_hidden() -> None:
    """A red mark needs a node of its own."""
    guide = autoguide.AutoMultivariateNormal(schools)
    guide(*DATA)

    def other(sigma, y):
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        with pyro.plate("schools", len(sigma)):
            pyro.sample("y", dist.Normal(mu, sigma), obs=y)

    graph = render_model(other, DATA, guide=guide)
    assert "not in model" in graph.shown.graphs["guide"].by_name["tau"].marks


def test_many_latents_have_a_short_name() -> None:
    def chain():
        z = torch.zeros(())
        for t in range(30):
            z = pyro.sample(f"z_{t}", dist.Normal(z, 1.0))

    graph = render_model(chain, guide=autoguide.AutoNormal(chain)).shown.graphs["guide"]
    (latent,) = [n for n in graph.nodes if n.kind == "latent"]
    assert latent.name == "(z_0, z_1, z_2, ..., z_29)"
    assert set(latent.sites) == {f"z_{t}" for t in range(30)}
