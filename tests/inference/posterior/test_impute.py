"""Missing values filled in: the Gaussian conditional, where there is one."""

from functools import partial

import pyro
import pytest
import torch
from refused import refused
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from pyro_vae import posterior
from pyro_vae.guides import FullCovarianceNormal
from pyro_vae.inference import Imputation
from pyro_vae.inference.evidence.tiles import open_tiles
from pyro_vae.likelihoods import FixedScaleNormal, Heterogeneous, Missing, Poisson, Tokens
from pyro_vae.models import VAE, FactorAnalysis
from pyro_vae.networks import MLP, MaskedInput

K = 20_000


def impute(program, data, num_particles: int = 1000, num_draws: int = 20, **options) -> Imputation:
    drawn = {"num_particles": num_particles, "num_draws": num_draws, "seed": options.get("seed")}
    return posterior(program, data, **drawn).impute(**options)


@pytest.fixture
def linear() -> VAE:
    torch.manual_seed(2)
    linear = partial(MLP, hidden_dims=())
    vae = VAE(
        (5,),
        2,
        likelihood=partial(Missing, likelihood=partial(FixedScaleNormal, scale=0.8)),
        guide=FullCovarianceNormal,
        encoder=partial(MaskedInput, network=linear),
        decoder=linear,
    )
    for parameter in vae.recognition.parameters():  # close to the prior: wide enough for all rows
        parameter.data.mul_(0.1)
    return vae


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(3)
    x = torch.randn(20, 5)
    x[torch.rand(x.shape) < 0.4] = torch.nan
    x[0] = torch.nan  # nothing is known of it
    x[1] = 0.5  # nothing is missing
    return x


@torch.no_grad()
def test_the_most_probable_name_is_that_of_the_posterior() -> None:
    torch.manual_seed(0)
    columns = [partial(Tokens, num_tokens=3), FixedScaleNormal]
    likelihood = partial(Missing, likelihood=partial(Heterogeneous, columns=columns))
    decoder = partial(MLP, hidden_dims=())
    vae = VAE((2,), 1, likelihood=likelihood, encoder=MaskedInput, decoder=decoder)
    for parameter in vae.likelihood.parameters():
        parameter.mul_(4)
    y = torch.linspace(-6, 6, 25)
    x = torch.stack([torch.full_like(y, torch.nan), y], 1)
    found = impute(vae, x, num_particles=K, seed=0)
    z = torch.linspace(-8, 8, 2001)[:, None]
    names, normal = vae.likelihood(z).base_dist.base_dist.parts
    weights = (Normal(0.0, 1.0).log_prob(z) + normal.log_prob(y)).softmax(0)  # (Z, N)
    p = weights.T @ names.probs[:, 0]  # (N, 3)
    best = p.topk(2).values
    clear = best[:, 0] - best[:, 1] > 5 / found.ess.sqrt()
    assert clear.sum() > 15
    assert len(p.argmax(-1)[clear].unique()) > 1
    assert torch.equal(found.mode[clear, 0], p.argmax(-1)[clear].float())
    assert torch.equal(found.mode[:, 1], y)


def conditional(vae: VAE, row: Tensor) -> MultivariateNormal:
    """Of the missing values, by the partition of the joint covariance."""
    layer = vae.likelihood.complete.decoder.layers[-1]
    covariance = layer.weight @ layer.weight.T + 0.8**2 * torch.eye(5)
    gone, seen = row.isnan(), ~row.isnan()
    gain = covariance[gone][:, seen] @ torch.linalg.inv(covariance[seen][:, seen])
    loc = layer.bias[gone] + gain @ (row[seen] - layer.bias[seen])
    return MultivariateNormal(loc, covariance[gone][:, gone] - gain @ covariance[seen][:, gone])


@torch.no_grad()
def test_it_is_the_gaussian_conditional(linear: VAE, x: Tensor) -> None:
    found = impute(linear, x, num_particles=K, num_draws=500, quantiles=(0.1, 0.9), seed=0)
    assert found.quantiles.shape == (2, 20, 5)
    assert found.ess.min() > 500
    for n, row in enumerate(x):
        gone = row.isnan()
        if not gone.any():
            continue
        exact, ess = conditional(linear, row), found.ess[n]
        scale = exact.variance.sqrt()
        error = scale / ess.sqrt()
        assert ((found.mean[n, gone] - exact.mean).abs() < 5 * error).all()
        assert ((found.scale[n, gone] - scale).abs() < 5 * error).all()
        for level, quantile in zip((0.1, 0.9), found.quantiles[:, n, gone], strict=True):
            wanted = Normal(exact.mean, scale).icdf(torch.tensor(level))
            assert ((quantile - wanted).abs() < 10 * error).all()


@torch.no_grad()
def test_draws_are_joint(linear: VAE, x: Tensor) -> None:
    draws = impute(linear, x, num_particles=K, num_draws=5000, seed=0).draws
    exact = conditional(linear, x[0]).covariance_matrix
    scale = exact.diagonal().sqrt()
    off = (draws[:, 0].T.cov() - exact) / (scale * scale.unsqueeze(-1))
    assert off.abs().max() < 0.15


def test_what_was_observed_stays(linear: VAE, x: Tensor) -> None:
    found, seen = impute(linear, x, num_particles=50, seed=0), ~x.isnan()
    for values in (found.mean, *found.draws, *found.quantiles):
        assert torch.equal(values[seen], x[seen])
        assert values.isfinite().all()
    assert (found.scale[seen] == 0).all()
    assert (found.scale[~seen] > 0).all()
    again = impute(linear, x, num_particles=50, seed=0)
    assert torch.equal(found.draws, again.draws)


def masking(vae: VAE, shift: float = 0.0) -> tuple[object, object]:
    """The same story by one that puts 0 where values are missing, and masks it."""

    def model(x: Tensor) -> None:
        seen, filled = ~x.isnan(), x.nan_to_num() + shift
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", vae.prior())
            fn = vae.likelihood.complete(z).base_dist.mask(seen).to_event(1)
            pyro.sample("x", fn, obs=filled)

    return model, vae.guide


@torch.no_grad()
def test_gaps_that_a_model_masks_are_filled_in_all_the_same(linear: VAE, x: Tensor) -> None:
    found, expected = (
        impute(program, x, num_particles=500, seed=0) for program in (masking(linear), linear)
    )
    for name in ("mean", "scale", "draws", "ess"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))
    with refused("data", remedy="unchanged"):
        impute(masking(linear, shift=1.0), x)


@pytest.mark.parametrize("way", ["vmap", "one by one"])
def test_a_program_that_takes_no_particle_dimension_gives_the_same(
    linear: VAE, x: Tensor, way: str
) -> None:
    """By its shapes it takes one draw a call; by a value in Python it cannot be mapped either."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", linear.prior())
            assert z.dim() == 2
            if way == "one by one":
                assert z.sum().item() < 1e9
            pyro.sample("x", linear.likelihood(z), obs=x)

    num_particles = 4000 if way == "vmap" else 400
    with open_tiles((model, linear.guide), x, seed=0) as tiles:
        assert not tiles.example.vectorized
        assert tiles.example.by_vmap == (way == "vmap")
    found = impute((model, linear.guide), x, num_particles=num_particles, seed=0)
    exact = impute(linear, x, num_particles=K, seed=1)
    gaps = x.isnan()
    error = (exact.scale / found.ess.sqrt()[:, None])[gaps]
    off = (found.mean - exact.mean)[gaps]
    assert (off.abs() < 5 * error + 1e-6).all()
    assert (found.scale / exact.scale - 1)[gaps].abs().mean() < 0.1
    assert torch.equal(found.mean[~gaps], x[~gaps])
    assert (found.draws.isfinite()).all()


def test_names_are_drawn() -> None:
    torch.manual_seed(0)
    names = partial(Missing, likelihood=partial(Tokens, num_tokens=3))
    vae = VAE((4,), 2, likelihood=names, encoder=MaskedInput)
    x = torch.tensor([[0.0, 2.0, torch.nan, torch.nan]])
    draws = impute(vae, x, num_particles=200, num_draws=200, seed=0).draws
    assert set(draws[:, 0, 2].tolist()) <= {0.0, 1.0, 2.0}
    assert draws[:, 0, 2].unique().numel() > 1


def test_refusals(linear: VAE, x: Tensor) -> None:
    with refused("quantiles", expected="between 0 and 1"):
        impute(linear, x, quantiles=(5,))
    with refused("num_draws", expected="at least 1"):
        impute(linear, x, num_draws=0)
    later = torch.cat([torch.zeros(20, 5), x])
    for data in (x, later):
        with refused("data", expected="likelihood Missing"):
            impute(FactorAnalysis((5,)), data)


def test_counts_with_gaps_that_a_model_cannot_read_are_refused() -> None:
    """Torch refuses to draw from a Poisson whose rate is NaN: the refusal comes first."""
    x = torch.poisson(torch.full((40, 6), 2.0))
    counts = VAE((6,), 2, likelihood=Poisson)
    with refused("data", expected="likelihood Missing"):
        impute(counts, x.masked_fill(x > 3, torch.nan))
