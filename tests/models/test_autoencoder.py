"""The autoencoder: its loss is that of reconstruction, and an evidence and draws are refused."""

from functools import partial

import pytest
import torch
from refused import refused
from torch.nn.functional import binary_cross_entropy_with_logits

from pyro_vae import fit, log_evidence, posterior, prior_samples
from pyro_vae.inference import Guide
from pyro_vae.inference.objectives import IWAE, TraceELBO
from pyro_vae.likelihoods import FixedScaleNormal, Missing
from pyro_vae.models import Autoencoder
from pyro_vae.networks import MLP


def loss(model: Autoencoder, x: torch.Tensor) -> torch.Tensor:
    return TraceELBO().differentiable_loss(model.model, model.guide, x) / len(x)


def test_its_loss_is_that_of_reconstruction() -> None:
    torch.manual_seed(0)
    x = torch.bernoulli(torch.full((7, 1, 4, 4), 0.3))
    model = Autoencoder((1, 4, 4), 3)
    logits = model.likelihood.decoder(model.encoder(x))[:, 0]
    expected = binary_cross_entropy_with_logits(logits, x, reduction="sum") / 7
    torch.testing.assert_close(loss(model, x), expected)
    codes = posterior(model, x, method=Guide(), num_draws=2, seed=0)
    torch.testing.assert_close(codes.means["z"], model.encoder(x).detach())
    made = codes.reconstructions()["x"]
    torch.testing.assert_close(made, torch.sigmoid(logits.detach()))


def test_a_linear_one_finds_the_principal_components() -> None:
    """Baldi and Hornik 1989: its error is the sum of the discarded eigenvalues."""
    torch.manual_seed(0)
    x = torch.randn(400, 5) @ torch.randn(5, 5)
    linear = partial(MLP, hidden_dims=())
    model = Autoencoder((5,), 2, likelihood=FixedScaleNormal, encoder=linear, decoder=linear)
    adam = partial(torch.optim.Adam, lr=0.02)
    fit(model, x, epochs=200, batch_size=400, optimizer=adam, progress=False, device="cpu")
    with torch.no_grad():
        error = (model.likelihood(model.encoder(x)).mean - x).square().sum() / 400
    left_out = torch.linalg.eigvalsh(x.T.cov(correction=0))[:3].sum()
    assert left_out <= error <= 1.02 * left_out


@pytest.mark.parametrize("method", ["importance", "ais", "auto", "exact", "sandwich"])
def test_it_has_no_evidence(method: str) -> None:
    with refused("z"):
        log_evidence(Autoencoder((3,), 2), torch.zeros(4, 3), method=method)


def test_draws_and_impossible_parts_are_refused() -> None:
    with refused("model", remedy="proper prior"):
        prior_samples(Autoencoder((3,), 2), torch.zeros(4, 3))
    with refused("latent_dim", expected="at least 1"):
        Autoencoder((3,), 0)
    with refused("encoder", remedy="partial(MaskedInput, network=MLP)"):
        Autoencoder((3,), 2, likelihood=Missing)


@pytest.mark.parametrize("elbo", [None, IWAE(2), TraceELBO()])
def test_its_figure_is_an_objective_not_a_bound(elbo) -> None:
    x, model = torch.zeros(4, 3), Autoencoder((3,), 2)
    result = fit(model, x, validation=x, elbo=elbo, epochs=1, progress=False, device="cpu")
    figures = {name for name in result.metrics[0] if name.startswith(("train", "validation"))}
    assert figures == {"train_objective", "validation_objective"}
