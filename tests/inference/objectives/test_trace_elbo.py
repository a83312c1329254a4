"""Our ELBO is Pyro's: the same figure and gradient under the same noise; tempering by hand."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from stories import PyroStyleVAE
from torch import Tensor

from pyro_vae.inference.objectives import Tempered, TraceELBO

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))


def discrete_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        which = pyro.sample("which", dist.Bernoulli(0.4))
        loc = pyro.sample("loc", dist.Normal(which, 1.0))
        pyro.sample("x", dist.Normal(loc[:, None], 1.0).to_event(1), obs=x)


def discrete_guide(x: Tensor) -> None:
    logits = pyro.param("logits", torch.zeros(len(x)))
    slope = pyro.param("slope", torch.tensor(0.5))
    with pyro.plate("data", len(x)):
        pyro.sample("which", dist.Bernoulli(logits=logits))
        pyro.sample("loc", dist.Normal(slope * x.mean(-1), 0.7))


def vae_parameters(vae: PyroStyleVAE) -> list[Tensor]:
    return list(vae.parameters())


@pytest.mark.parametrize("num_particles", [1, 3])
@pytest.mark.parametrize("story", ["vae", "score function"])
def test_loss_and_gradient_are_pyros(num_particles: int, story: str) -> None:
    if story == "vae":
        vae = PyroStyleVAE()
        model, guide = vae.model, vae.guide
        parameters = list(vae.parameters())
    else:
        model, guide = discrete_model, discrete_guide
        guide(X)
        parameters = [p for _, p in pyro.get_param_store().named_parameters()]
    results = []
    for elbo in (TraceELBO(num_particles=num_particles), Trace_ELBO(num_particles=num_particles)):
        pyro.set_rng_seed(1)
        loss = elbo.differentiable_loss(model, guide, X)
        results.append((loss.detach(), *torch.autograd.grad(loss, parameters)))
    for ours, pyros in zip(*results, strict=True):
        torch.testing.assert_close(ours, pyros)
    pyro.set_rng_seed(1)
    assert TraceELBO(num_particles=num_particles).loss(model, guide, X) == pytest.approx(
        results[0][0].item(), rel=1e-5
    )


@pytest.mark.parametrize("beta", [0.0, 0.25, 4.0])
def test_tempering_weighs_the_kl_term_alone(beta: float) -> None:
    vae = PyroStyleVAE()
    elbo = TraceMeanField_ELBO()

    def loss(weight: float | Tensor) -> Tensor:
        pyro.set_rng_seed(2)
        return elbo.differentiable_loss(Tempered(weight)(vae.model), Tempered(weight)(vae.guide), X)

    distortion, one = loss(0.0), loss(1.0)
    torch.testing.assert_close(loss(torch.tensor(beta)), distortion + beta * (one - distortion))
    loc, raw = vae.encoder(X).chunk(2, -1)
    scale = torch.nn.functional.softplus(raw) + 0.1
    rate = (0.5 * (loc.square() + scale.square() - 1) - scale.log()).sum()
    torch.testing.assert_close(one - distortion, rate, rtol=1e-4, atol=1e-4)
