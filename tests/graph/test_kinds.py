"""The kind of each site: latent, observed, deterministic, factor."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from diagrams import edges, kinds, normal
from pyro import poutine
from pyro.infer.reparam import LocScaleReparam
from torch import Tensor

from pyro_vae.graph import render_model


def with_delta() -> None:
    m = normal("m", 0.0)
    sd = pyro.sample("sd", dist.Delta(m**2 + 0.1))
    pyro.sample("x", dist.Normal(m, sd), obs=torch.tensor(1.0))


def test_a_delta_in_the_model_is_a_deterministic_site() -> None:
    graph = render_model(with_delta)
    assert kinds(graph.model) == {"m": "latent", "sd": "deterministic", "x": "observed"}
    assert edges(graph.model) == {("m", "sd"), ("m", "x"), ("sd", "x")}
    joined = render_model(with_delta, render_deterministic=False).model
    assert edges(joined) == {("m", "x")}


def test_a_guide_may_leave_out_a_delta_of_the_model_or_repeat_it() -> None:
    def repeating() -> None:
        pyro.sample("sd", dist.Delta(normal("m", 1.0) ** 2 + 0.1))

    def drawing() -> None:
        normal("sd", normal("m", 1.0))

    assert render_model(with_delta, guide=lambda: normal("m", 1.0)).warnings == ()
    repeated = render_model(with_delta, guide=repeating)
    assert repeated.warnings == ()
    assert repeated.guide is not None
    assert kinds(repeated.guide) == {"m": "latent", "sd": "deterministic"}
    assert render_model(with_delta, guide=drawing).warnings == (
        "the guide samples 'sd', which the model computes",
    )


def test_a_delta_of_the_guide_is_a_latent() -> None:
    def model() -> None:
        normal("x", normal("z", 0.0), obs=torch.tensor(1.0))

    graph = render_model(model, guide=lambda: pyro.sample("z", dist.Delta(torch.tensor(1.0))))
    assert graph.guide is not None
    assert kinds(graph.guide) == {"z": "latent"}
    assert graph.warnings == ()


def test_a_reparameterised_site_is_computed() -> None:
    def model() -> None:
        normal("c", normal("b", normal("a", 0.0)), obs=torch.tensor(0.0))

    graph = render_model(poutine.reparam(model, {"b": LocScaleReparam(0.0)})).model
    assert kinds(graph) == {
        "a": "latent",
        "b_decentered": "latent",
        "b": "deterministic",
        "c": "observed",
    }


@pytest.mark.parametrize("has_rsample", [False, True])
def test_factors_of_a_guide_are_shown_however_they_are_made(has_rsample: bool) -> None:
    def model() -> None:
        normal("x", normal("z", 0.0), obs=torch.tensor(1.0))

    def guide() -> None:
        pyro.factor("f", normal("z", 0.0), has_rsample=has_rsample)
        seen = dist.Normal(0.0, 1.0)
        pyro.sample("t", seen, obs=torch.tensor(0.0), infer={"is_auxiliary": True})

    graph = render_model(model, guide=guide)
    assert graph.guide is not None
    assert kinds(graph.guide) == {"z": "latent", "f": "factor", "t": "observed"}
    assert edges(graph.guide) == {("z", "f")}
    assert graph.warnings == ()


def test_what_the_guide_draws_is_a_latent_of_the_model() -> None:
    """The model may use the name for something else than a latent."""

    def model(a: Tensor) -> None:
        w = pyro.param("w", torch.zeros(()))
        d = pyro.deterministic("d", normal("z", w))
        normal("x", d + a, obs=torch.tensor(1.0))

    def guide(a: Tensor) -> None:
        for name in ("z", "w", "d", "a", "x"):
            normal(name, 0.0)

    warnings = render_model(model, (torch.zeros(()),), guide=guide).warnings
    assert warnings == (
        "the guide samples 'w', which the model does not: remove it, or mark it with "
        "infer={'is_auxiliary': True}",
        "the guide samples 'd', which the model computes",
        "the guide samples 'a', which the model does not: remove it, or mark it with "
        "infer={'is_auxiliary': True}",
        "the guide samples 'x', which the model observes",
    )
