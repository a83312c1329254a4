"""Draws of the prior and of the data that it makes: their moments, their places, and what is refused."""

import math

import pyro
import pyro.distributions as dist
import torch
from posteriors import normal_normal
from refused import refused
from torch import Tensor

from pyro_vae import prior_samples
from pyro_vae.models import VAE, Autoencoder


def standardised(value: Tensor, loc: Tensor | float, scale: float) -> None:
    """Check mean and variance of what should be standard normal."""
    z = ((value - loc) / scale).double()
    assert abs(z.mean()) < 4.5 / math.sqrt(z.numel())
    assert abs(z.var() - 1) < 4.5 * math.sqrt(2 / z.numel())


def test_latents_data_and_means_belong_together() -> None:
    known = normal_normal()
    drawn = prior_samples((known.model, known.exact), known.args, num_draws=300, seed=0)
    z, x = drawn.draws["z"], drawn.predictive["x"]
    assert (z.shape, x.shape) == ((300, 70), (300, 70, 3))
    standardised(z, 0.5, 1.0)
    standardised(x, z.unsqueeze(-1), 0.8)
    torch.testing.assert_close(drawn.means["x"], z.unsqueeze(-1).expand(-1, -1, 3))
    assert repr(drawn) == "PriorSamples(300 draws of z (70,), x (70, 3))"
    page = drawn._repr_html_()
    for word in ("latent", "70 x 3", f"{z.double().mean():.3g}", f"{x.double().std():.3g}"):
        assert f">{word}</td>" in page


def test_a_model_alone_with_shared_latents_and_computed_ones() -> None:
    def model(group: Tensor, y: Tensor | None = None) -> None:
        level = pyro.sample("level", dist.Normal(1.0, 2.0))
        with pyro.plate("groups", 3):
            raw = pyro.sample("raw", dist.Normal(0.0, 1.0))
            effect = pyro.deterministic("effect", level + 0.5 * raw)
        with pyro.plate("rows", len(group)):
            pyro.sample("y", dist.Normal(effect[group], 0.3), obs=y)

    group = torch.tensor([0, 1, 2, 0, 1, 2, 2])
    for y in (torch.zeros(7), None):
        drawn = prior_samples(model, args=(group, y), num_draws=400, seed=0)
        of = drawn.draws
        torch.testing.assert_close(of["effect"], of["level"][:, None] + 0.5 * of["raw"])
        standardised(of["level"], 1.0, 2.0)
        standardised(drawn.predictive["y"], of["effect"][:, group], 0.3)


def test_a_response_that_is_left_out_is_data() -> None:
    """``obs=y`` with y None, whatever the site's name, and also where another response is given."""

    def model(
        x: Tensor, y: Tensor | None = None, scale: float = 1.0, count: Tensor | None = None
    ) -> None:
        slope = pyro.sample("slope", dist.Normal(0.0, 2.0))
        with pyro.plate("rows", len(x)):
            pyro.sample("response", dist.Normal(slope * x, scale), obs=y)
            pyro.sample("count", dist.Poisson(x.exp()), obs=count)

    x = torch.ones(4)
    for args in ((x,), (x, None), (x, torch.zeros(4))):
        drawn = prior_samples(model, args=args, num_draws=300, seed=0)
        assert list(drawn.draws) == ["slope"]
        assert set(drawn.predictive) == {"response", "count"}
        standardised(drawn.predictive["response"], drawn.draws["slope"].unsqueeze(-1), 1.0)


def test_tiles_of_rows_keep_their_order(small_blocks) -> None:
    """Covariates are those of each row, past the first tile."""

    def model(x: Tensor, y: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(100 * x + z, 0.1), obs=y)

    x = torch.arange(150.0)
    drawn = prior_samples(model, (x, torch.zeros(150)), num_draws=5, seed=0)
    standardised(drawn.predictive["y"] - 100 * x, drawn.draws["z"], 0.1)


def test_the_same_seed_gives_the_same_draws_and_leaves_the_generator() -> None:
    vae, x, before = VAE((1, 4, 4), 2), torch.zeros(6, 1, 4, 4), torch.get_rng_state()
    one, other = (prior_samples(vae, x, num_draws=3, seed=5) for _ in range(2))
    assert torch.equal(one.predictive["x"], other.predictive["x"])
    assert torch.equal(torch.get_rng_state(), before)
    assert one.num_draws == 3


def test_a_flat_prior_is_refused() -> None:
    with refused("model", remedy="proper prior"):
        prior_samples(Autoencoder((3,), 2), torch.zeros(4, 3))
