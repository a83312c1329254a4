"""Any prior, guide and likelihood compose a VAE that can be fitted, drawn and evaluated."""

from itertools import zip_longest
from typing import Any

import pytest
import torch
from controls import GRAPHS
from parts.parts import (
    CONSTRAINED,
    GUIDES,
    LIKELIHOODS,
    PRIORS,
    data_for,
    make,
    table,
    with_part,
)
from refused import refused
from torch import Tensor

from pyro_vae import fit, guides, log_evidence, priors, render_model
from pyro_vae.guides import MeanFieldNormal
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.likelihoods import Bernoulli, Missing
from pyro_vae.models import VAE
from pyro_vae.testing import check_program

few_steps = Annealed(num_temperatures=4, num_leapfrog=2)
quick: dict[str, Any] = {"progress": False, "device": "cpu"}
BINARY = (torch.rand(12, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def check(vae: VAE, x: Tensor) -> None:
    """Check that it fits, that it is drawn, and that two estimates of its evidence agree."""
    before = {name: p.detach().clone() for name, p in vae.named_parameters()}
    fit(vae, x, epochs=2, batch_size=6, **quick)
    assert all((p != before[name]).any() for name, p in vae.named_parameters())
    drawn = render_model(vae, (x,)).to_dict()
    assert ["z", "x"] in drawn["model"]["edges"]
    assert not drawn["warnings"]
    importance = log_evidence(vae, x, num_particles=500, seed=0, **quick)
    annealed = log_evidence(vae, x, method=few_steps, num_particles=20, seed=0, **quick)
    known = ~(importance.without_error | annealed.without_error)  # two epochs make poor guides
    assert importance.log_evidence.isfinite().all()
    assert annealed.log_evidence.isfinite().all()
    difference = (importance.log_evidence - annealed.log_evidence)[known].sum()
    errors = torch.cat([importance.standard_error[known], annealed.standard_error[known]])
    bias = errors.square().sum() / 2  # of the log of a mean, to second order
    assert difference.abs() <= 5 * errors.norm() + bias


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES)
@pytest.mark.parametrize("prior", PRIORS)
def test_priors_and_guides(prior: str, guide: str) -> None:
    check(make((4,), 2, prior=PRIORS[prior], guide=GUIDES[guide]), BINARY)


# each part once, the priors and guides with the first likelihoods; with the others the simplest of both
EACH_ONCE = [
    (likelihood, prior or "StandardNormal", guide or "MeanFieldNormal")
    for likelihood, prior, guide in zip_longest(LIKELIHOODS, PRIORS, GUIDES)
]


@pytest.mark.parametrize(("likelihood", "prior", "guide"), EACH_ONCE)
def test_likelihoods(likelihood: str, prior: str, guide: str) -> None:
    kind = LIKELIHOODS[likelihood]
    vae = make((4,), 2, likelihood=kind, prior=PRIORS[prior], guide=GUIDES[guide])
    check(vae, data_for(kind))


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES)
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_all_combinations(likelihood: str, prior: str, guide: str) -> None:
    test_likelihoods(likelihood, prior, guide)


@pytest.mark.parametrize("likelihood", ["Bernoulli", "Normal", "ZeroInflatedPoisson"])
@pytest.mark.parametrize("place", CONSTRAINED)
def test_latents_on_the_sphere_and_the_simplex(place: str, likelihood: str) -> None:
    (prior, guide), kind = CONSTRAINED[place], LIKELIHOODS[likelihood]
    check(make((4,), 3, prior=prior, guide=guide, likelihood=kind), data_for(kind))


def test_a_class_as_latent() -> None:
    """Its evidence is a sum over the classes; annealing refuses them."""
    vae = make((4,), 3, prior=priors.Categorical, guide=guides.Categorical)
    before = {name: p.detach().clone() for name, p in vae.named_parameters()}
    fit(vae, BINARY, epochs=2, batch_size=6, **quick)
    assert all((p != before[name]).any() for name, p in vae.named_parameters())
    with torch.no_grad():
        given = vae.likelihood(torch.eye(3)).log_prob(BINARY.unsqueeze(1))  # (12, 3)
        exact = (given + vae.prior.logits.log_softmax(-1)).logsumexp(-1).double()
    found = log_evidence(vae, BINARY, num_particles=2000, seed=0, **quick)
    assert ((found.log_evidence - exact).abs() < 5 * found.standard_error + 1e-5).all()
    with refused("z"):
        log_evidence(vae, BINARY, method=few_steps, **quick)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*LIKELIHOODS, *PRIORS, *GUIDES])
def test_each_part_keeps_the_contract(name: str) -> None:
    check_program(with_part(name), data_for(LIKELIHOODS.get(name, Bernoulli)))


def test_a_table_with_missing_cells() -> None:
    check(*table())


@pytest.mark.parametrize(("likelihood", "prior", "guide"), EACH_ONCE)
def test_a_step_becomes_a_graph_without_pyro(likelihood: str, prior: str, guide: str) -> None:
    kind = LIKELIHOODS[likelihood]
    vae = make((4,), 2, likelihood=kind, prior=PRIORS[prior], guide=GUIDES[guide])
    *_, note = fit(vae, data_for(kind), epochs=1, batch_size=12, control=GRAPHS, **quick).notes
    assert "run as a graph, without Pyro" in note


@pytest.mark.parametrize("place", CONSTRAINED)
def test_so_does_a_step_with_a_constrained_latent(place: str) -> None:
    prior, guide = CONSTRAINED[place]
    vae = make((4,), 3, prior=prior, guide=guide)
    *_, note = fit(vae, BINARY, epochs=1, control=GRAPHS, **quick).notes
    assert "run as a graph, without Pyro" in note


def test_an_encoder_must_read_missing_values() -> None:
    with refused("encoder", remedy="partial(MaskedInput, network=MLP)"):
        make((4,), 2, likelihood=Missing)


def test_prior_and_guide_must_have_the_same_latent() -> None:
    with refused("MeanFieldNormal") as caught:
        make((4,), 2, prior=priors.SphericalUniform)
    assert "SphericalUniform" in caught.value.problem

    def larger(data_shape, latent_dim, encoder):
        return MeanFieldNormal(data_shape, 3, encoder)

    with refused("MeanFieldNormal") as caught:
        make((4,), 2, guide=larger)
    assert all(size in caught.value.problem for size in ("with 2", "with 3"))
