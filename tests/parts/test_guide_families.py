"""Made guides whose distributions are guides of the shelf: mixtures, flows."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from refused import refused
from torch import Tensor, nn

from pyro_vae import fit, log_evidence
from pyro_vae.flows import Coupling
from pyro_vae.guides import (
    AutoAmortized,
    FlowGuide,
    FullCovarianceNormal,
    Implicit,
    MixtureNormal,
    VonMisesFisher,
)
from pyro_vae.networks import MLP

SMALL = partial(MLP, hidden_dims=(32,))
FLOW = partial(FlowGuide, flow=partial(Coupling, hidden_dims=(16,)), context_dim=4)
FAMILIES = {"mixture": MixtureNormal, "flow": FLOW, "full": FullCovarianceNormal}


def of_all_shapes(x: Tensor) -> None:
    """Numbers, vectors, bounded ones and a simplex, beside and inside of an inner plate."""
    level = pyro.sample("level", dist.Normal(0.0, 1.0))
    spread = pyro.sample("spread", dist.Gamma(2.0, 2.0))
    with pyro.plate("units", len(x), dim=-2):
        pyro.sample("share", dist.Dirichlet(torch.ones(3)))
        rate = pyro.sample("rate", dist.Beta(2.0, 2.0))
        pair = pyro.sample("pair", dist.Normal(level, torch.ones(2)).to_event(1))
        with pyro.plate("members", x.shape[1], dim=-1):
            noise = pyro.sample("noise", dist.LogNormal(0.0, spread))
            pyro.sample("x", dist.Normal(pair.sum(-1) + rate, noise), obs=x)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_density_is_that_of_the_coordinates_under_the_family(name: str) -> None:
    """log q(z) = log q(e) - log |dz / de|, found by autograd from the draw's own e."""
    torch.set_default_dtype(torch.float64)
    try:
        x = torch.randn(4, 3)
        guide = AutoAmortized(
            of_all_shapes, x, network=SMALL, family=FAMILIES[name], shared_family=FAMILIES[name]
        )
        for parameter in guide.parameters():
            nn.init.normal_(parameter, std=0.2)
        trace = poutine.trace(guide).get_trace(x)
        for site in ("share", "rate", "pair", "noise"):
            node = trace.nodes[site]
            factor, coordinates = guide.local.factors[site], guide.local.latents[site].coordinates
            free = coordinates(node["value"])
            e = ((free - factor.loc) / factor.scale).detach()
            base = node["fn"].base_dist.log_prob(e)

            def z_of_e(e: Tensor, factor=factor, coordinates=coordinates) -> Tensor:
                free = factor.loc + factor.scale * e
                return coordinates.transform(free.reshape(coordinates.shape)).reshape(-1)

            for cell in torch.cartesian_prod(*map(torch.arange, base.shape)).reshape(
                -1, base.dim()
            ):
                jacobian = torch.autograd.functional.jacobian(z_of_e, e[tuple(cell)])
                if site == "share":  # density by its first two numbers
                    jacobian = jacobian[:2]
                expected = base[tuple(cell)] - jacobian.slogdet()[1]
                found = node["fn"].log_prob(node["value"])[tuple(cell)]
                torch.testing.assert_close(found, expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_a_guide_like_any_other(name: str) -> None:
    x = torch.randn(12, 3)
    family = FAMILIES[name]
    guide = AutoAmortized(of_all_shapes, x, network=SMALL, family=family, shared_family=family)
    kind = type(guide.shared.joint.guide).__name__
    assert f"level, spread: {kind}, free parameters" in str(guide)
    assert f"noise: {kind}, by a network" in str(guide)
    result = fit((of_all_shapes, guide), x, epochs=2, batch_size=6, progress=False)
    evidence = log_evidence(result.program, args=(x,), num_particles=50, progress=False, seed=0)
    assert evidence.log_evidence.isfinite()
    with pyro.plate("particles", 5, dim=-3):
        drawn = guide(x[:2])
    assert drawn["noise"].shape == (5, 2, 3)
    assert drawn["pair"].shape == (5, 2, 1, 2)


def test_a_mixture_finds_both_roots_of_each_datum() -> None:
    """y = z^2 + noise: the posterior of each z has two modes, and a normal guide holds one."""

    def squares(y: Tensor) -> None:
        with pyro.plate("units", len(y)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(z**2, 0.3), obs=y)

    torch.manual_seed(0)
    y = torch.randn(512) ** 2 + 0.3 * torch.randn(512)
    elbos = []
    for family in (None, partial(MixtureNormal, num_components=4)):
        pyro.clear_param_store()
        guide = AutoAmortized(squares, y, family=family)
        result = fit((squares, guide), y, epochs=150, batch_size=64, progress=False, seed=0)
        evidence = log_evidence(result.program, y, num_particles=100, progress=False, seed=0)
        elbos.append(evidence.bounds[1].mean())
    assert elbos[1] > elbos[0] + 0.1
    draws = guide(torch.ones(500))["z"]
    assert draws.abs().mean() > 0.8
    assert 0.05 < (draws > 0).float().mean() < 0.95


@pytest.mark.slow
def test_a_flow_comes_closer_to_a_bent_posterior() -> None:
    """m^2 + v_0 is known, not m and v: the ELBO of a flow is within 0.05 nats of the mode's evidence."""

    def model(y: Tensor) -> None:
        m = pyro.sample("m", dist.Normal(0.0, 1.0))
        s = pyro.sample("s", dist.LogNormal(0.0, 0.5))
        v = pyro.sample("v", dist.Dirichlet(torch.ones(3)))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(m**2 + v[..., 0], s), obs=y)

    torch.manual_seed(3)
    y = 1 + 0.5 * torch.randn(20)
    gaps = []
    for family in (None, partial(FlowGuide, flow=Coupling)):
        pyro.clear_param_store()
        guide = AutoAmortized(model, y, shared_family=family)
        result = fit((model, guide), y, progress=False, seed=1)
        evidence = log_evidence(
            result.program, args=(y,), num_particles=50_000, progress=False, seed=0
        )
        gaps.append(float(evidence.log_evidence - evidence.bounds[1]))
    assert gaps[1] < 0.05 < gaps[0]


def test_families_that_do_not_draw_free_numbers_are_refused() -> None:
    x = torch.randn(6, 3)
    with refused("family", expected="MixtureNormal"):
        AutoAmortized(of_all_shapes, x, family=VonMisesFisher)
    with refused("family", expected="MixtureNormal"):
        AutoAmortized(of_all_shapes, x, shared_family=Implicit)
    with refused("AmortizedGuide"):
        AutoAmortized(of_all_shapes, x, shared_family=MLP)
