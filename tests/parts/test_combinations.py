"""Any prior, guide and likelihood make a VAE that fits, is drawn, and knows its evidence."""

from functools import partial
from typing import Any

import pytest
import torch
from parts.parts import GUIDES, PRIORS, small
from torch import Tensor

from pyro_vae import InputError, fit, log_evidence, render_model
from pyro_vae.guides import MeanFieldNormal
from pyro_vae.inference import compile
from pyro_vae.inference.annealed import Annealed
from pyro_vae.models import VAE

make = partial(VAE, encoder=small, decoder=small)
few_steps = Annealed(num_temperatures=4, num_leapfrog=2)
quick: dict[str, Any] = {"progress": False, "device": "cpu"}
BINARY = (torch.rand(12, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def check(vae: VAE, x: Tensor) -> None:
    """Fits, is drawn, and both ways to its evidence agree."""
    before = {name: p.detach().clone() for name, p in vae.named_parameters()}
    fit(vae, x, epochs=2, batch_size=6, **quick)
    assert all((p != before[name]).any() for name, p in vae.named_parameters())
    drawn = render_model(vae, (x,)).to_dict()
    assert ["z", "x"] in drawn["model"]["edges"]
    assert not drawn["warnings"]
    importance = log_evidence(vae, x, num_particles=500, seed=0, **quick)
    annealed = log_evidence(vae, x, method=few_steps, num_particles=20, seed=0, **quick)
    error = (importance.mean_standard_error**2 + annealed.mean_standard_error**2) ** 0.5
    assert abs(importance.mean - annealed.mean) < 5 * error


@pytest.mark.parametrize("guide", GUIDES)
@pytest.mark.parametrize("prior", PRIORS)
def test_priors_and_guides(prior: str, guide: str) -> None:
    check(make((4,), 2, prior=PRIORS[prior], guide=GUIDES[guide]), BINARY)


@pytest.mark.parametrize("name", [*PRIORS, *GUIDES])
def test_a_step_becomes_a_graph_without_pyro(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compile, "WORTH_A_GRAPH", 0)
    monkeypatch.setattr(compile, "WORTH_INDUCTOR", 10**9)
    part = {"prior": PRIORS[name]} if name in PRIORS else {"guide": GUIDES[name]}
    (note,) = fit(make((4,), 2, **part), BINARY, epochs=1, batch_size=12, **quick).notes
    assert "run as a graph, without Pyro" in note


def test_prior_and_guide_must_put_z_in_the_same_place() -> None:
    def larger(data_shape, latent_dim, encoder):
        return MeanFieldNormal(data_shape, 3, encoder)

    with pytest.raises(InputError, match=r"2 latent numbers .* MeanFieldNormal 3 "):
        make((4,), 2, guide=larger)
