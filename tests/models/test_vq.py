"""The vector-quantised VAE: its evidence by enumeration, the guide's limit, the gradients' bias."""

from functools import partial
from itertools import combinations, product

import pytest
import torch
from refused import refused
from torch import Tensor
from torch.nn.functional import one_hot, rms_norm

from pyro_vae import fit, log_evidence, prior_samples
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.objectives import TraceELBO
from pyro_vae.likelihoods import Missing
from pyro_vae.models import VQVAE
from pyro_vae.networks import MLP


def tiny(**options: bool) -> VQVAE:
    torch.manual_seed(0)
    small = partial(MLP, hidden_dims=(8,))
    return VQVAE((6,), 2, 3, 2, encoder=small, decoder=small, **options)


def binary(count: int) -> Tensor:
    torch.manual_seed(1)
    return torch.bernoulli(torch.full((count, 6), 0.4))


def every_code() -> Tensor:
    return one_hot(torch.tensor(list(product(range(3), repeat=2))), 3).float()  # (9, S, K)


def by_enumeration(model: VQVAE, x: Tensor) -> Tensor:
    c = every_code()
    likelihood = model.likelihood((c @ model.codebook).flatten(-2).unsqueeze(1))  # (9, 1 | X)
    return (model.prior().log_prob(c).unsqueeze(1) + likelihood.log_prob(x)).logsumexp(0)


@pytest.mark.parametrize("epochs", [0, 20])
@torch.no_grad()
def test_the_evidence_is_the_sum_over_codes(epochs: int) -> None:
    model, x = tiny(), binary(40)
    if epochs:
        with torch.enable_grad():
            fit(model, x, epochs=epochs, progress=False, device="cpu")
    torch.testing.assert_close(model.prior().log_prob(every_code()).exp().sum(), torch.tensor(1.0))
    half_from_prior = Importance(0.5)  # which bounds the weights, whatever the guide
    found = log_evidence(model, x, method=half_from_prior, num_particles=1000, seed=0)
    off = (found.log_evidence - by_enumeration(model, x)).abs()
    assert (off < 5 * found.standard_error + 1e-4).all()


@torch.no_grad()
def test_a_small_variance_is_the_nearest_code() -> None:
    model, x = tiny(), binary(40)
    model.log_variance.fill_(-12.0)
    places = rms_norm(model.encoder(x), (2,))
    nearest = torch.cdist(places, model.codebook.expand(40, -1, -1)).argmin(-1)
    assert torch.equal(model.quantise(x).sample().argmax(-1), nearest)


@pytest.mark.slow
def test_the_score_functions_gradient_is_the_elbos_and_the_other_is_not() -> None:
    """The gradient is that of the encoder's first layer, along the exact one by enumeration."""
    x, slopes = binary(5), {}
    for straight_through in (True, False):
        model = tiny(straight_through=straight_through)
        c = every_code().unsqueeze(1)
        log_q = model.quantise(x).log_prob(c)  # (9, B)
        likelihood = model.likelihood((c @ model.codebook).flatten(-2)).log_prob(x)
        elbo = (log_q.exp() * (likelihood + model.prior().log_prob(c) - log_q)).sum(0).mean()
        weight = model.encoder.layers[1].weight
        (exact,) = torch.autograd.grad(elbo, weight)
        draws = []
        for _ in range(1600):
            loss = TraceELBO().differentiable_loss(model.model, model.guide, x) / len(x)
            (slope,) = torch.autograd.grad(-loss, weight)
            draws.append((slope * exact).sum() / exact.square().sum())
        found = torch.stack(draws)
        slopes[straight_through] = (found.mean() - 1) / (found.std() / 40)
    assert abs(slopes[False]) < 5
    assert abs(slopes[True]) > 5  # as its docstring says


def test_it_uses_its_codes() -> None:
    """Codes model six noisy patterns, which independent columns cannot."""
    torch.manual_seed(0)
    blocks = torch.tensor([*combinations(range(4), 2)])  # two of four are on
    patterns = one_hot(blocks, 4).sum(1).repeat_interleave(3, 1).float()  # (6, 12)
    x = patterns[torch.randint(6, (600,))]
    x = (x - (torch.rand(600, 12) < 0.05).float()).abs()
    torch.manual_seed(0)
    model = VQVAE((12,), 2, 8, 4)
    adam = partial(torch.optim.Adam, lr=5e-3)
    fit(model, x, epochs=60, kl_warmup=50, optimizer=adam, progress=False, device="cpu")
    by_columns = torch.distributions.Bernoulli(x.mean(0)).log_prob(x).sum(-1).mean()
    assert log_evidence(model, x, num_particles=100, seed=0).mean > by_columns + 1
    drawn = prior_samples(model, x, num_draws=1, seed=0).predictive["x"][0]
    nearest, free = (
        (rows.unsqueeze(1) - patterns).abs().sum(-1).min(1).values.mean()
        for rows in (drawn, torch.bernoulli(x.mean(0).expand(600, 12)))
    )
    assert nearest < 0.75 * free


def test_refusals() -> None:
    with refused("num_codes", expected="at least 2"):
        VQVAE((6,), 2, 1)
    with refused("encoder", remedy="partial(MaskedInput, network=MLP)"):
        VQVAE((6,), 2, 3, likelihood=Missing)
    with refused("MLP", expected="(6,)"):
        VQVAE((6,), 2, 3).guide(torch.zeros(4, 7))
