"""Columns of metrics: closed forms, by hand, models without a guide, what is refused."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from refused import refused
from torch import nn

from pyro_vae import compare, log_evidence
from pyro_vae.inference import (
    COLUMNS,
    LOO,
    MSE,
    ActiveUnits,
    Annealed,
    EpochSeconds,
    FrechetDistance,
    KernelDistance,
    Parameters,
    PrecisionRecall,
    RateDistortion,
    plot_comparison,
)
from pyro_vae.inference.comparison.compare import model_seed
from pyro_vae.metrics import mse, random_network
from pyro_vae.models import GAN, VAE, Autoencoder
from pyro_vae.program.prior_guide import with_prior_as_guide

LOADINGS = torch.tensor([[1.0, 2.0, 0.0, 0.0], [0.0, 0.5, 1.0, 1.0]])
METRICS = [FrechetDistance(), KernelDistance(), PrecisionRecall(), MSE(), ActiveUnits()]


class Linear(nn.Module):
    """z ~ Normal(0, I), x ~ Normal(z W + shift, 1), and a guide whose mean is x times a matrix."""

    def __init__(self, shift: float = 0.0, used: int = 2):
        super().__init__()
        self.loadings = nn.Parameter(LOADINGS.clone())
        self.shift = nn.Parameter(torch.tensor(shift), requires_grad=False)
        self.register_buffer("to_z", torch.linalg.pinv(LOADINGS) * (torch.arange(2) < used))

    def model(self, x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            loc = z @ self.loadings + self.shift
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("rows", len(x)):
            pyro.sample("z", dist.Normal(x @ self.to_z, 0.7).to_event(1))


def rows(n=600):
    return torch.randn(n, 2) @ LOADINGS + torch.randn(n, 4)


def table(models, x, columns, **options):
    settings = {"num_particles": 20, "seed": 0, "reference": "right"}
    return compare(models, x, columns=[*COLUMNS, *columns], **settings | options)


def test_distances_of_known_models() -> None:
    x = rows()
    frame = table({"right": Linear(), "shifted": Linear(6.0)}, x, METRICS[:3]).to_frame()
    for name in ("frechet_distance", "kernel_distance"):
        assert abs(frame[name]["right"]) < 3 * frame[f"{name}_error"]["right"]
    exact = 4 * 6.0**2  # the covariances are equal, and four means differ by 6
    away = abs(frame["frechet_distance"]["shifted"] - exact)
    assert away < 4 * frame["frechet_distance_error"]["shifted"]
    assert frame["frechet_distance_error"]["shifted"] < 0.1 * exact
    assert frame["kernel_distance"]["shifted"] > 4 * frame["kernel_distance_error"]["shifted"]
    assert frame["precision"]["right"] > 0.8 > frame["precision"]["shifted"]
    assert frame["recall"]["right"] > 0.8 > frame["recall"]["shifted"]


def test_reconstructions_units_and_parameters() -> None:
    x = rows(200)
    models = {"right": Linear(), "lame": Linear(used=1)}
    frame = table(models, x, [MSE(), ActiveUnits(), Parameters()]).to_frame()
    by_row = {}
    for name, model in models.items():
        made = x @ model.to_z @ LOADINGS
        by_row[name] = mse(x, made).parts["by_row"]
        assert frame["mse"][name] == pytest.approx(by_row[name].mean(), rel=1e-5)
    away = by_row["lame"] - by_row["right"]
    assert frame["mse_difference"]["lame"] == pytest.approx(away.mean(), rel=1e-4)
    error = away.std(ddof=1) / math.sqrt(200)
    assert frame["mse_difference_error"]["lame"] == pytest.approx(error, rel=1e-4)
    assert frame["mse_difference"]["right"] == 0
    assert dict(frame["active_units"]) == {"right": 2, "lame": 1}
    assert dict(frame["latent_units"]) == {"right": 2, "lame": 2}
    assert dict(frame["parameters"]) == {"right": 8, "lame": 8}  # the shift is not fitted
    printed = str(table(models, x, [ActiveUnits(threshold=100.0)]))
    assert "0 of 2" in printed


def test_same_seed_same_figures_and_nothing_is_disturbed() -> None:
    x, models = rows(60), {"right": Linear(), "other": Linear(1.0)}
    state = torch.get_rng_state()
    one, again = (table(models, x, METRICS).to_frame() for _ in range(2))
    assert one.equals(again)
    assert torch.equal(state, torch.get_rng_state())
    assert not one.equals(table(models, x, METRICS, seed=1).to_frame())


@pytest.mark.slow
def test_a_model_without_a_guide_has_samples_only() -> None:
    x = rows(60)
    models = {"right": Linear(), "GAN": GAN((4,), latent_dim=2, scale=1.0)}
    prior = Annealed(start="prior")
    columns = [*METRICS, Parameters()]
    frame = table(models, x, columns, method=prior, num_particles=4).to_frame()
    for name in ("frechet_distance", "kernel_distance", "precision", "recall", "parameters"):
        assert np.isfinite(frame[name]).all()
    for name in ("mse", "mse_difference", "active_units"):
        assert math.isfinite(frame[name]["right"])
        assert math.isnan(frame[name]["GAN"])
    made = GAN((4,), latent_dim=2)
    assert frame["parameters"]["GAN"] == sum(p.numel() for p in made.parameters())


def test_an_evidence_alone_has_no_metrics() -> None:
    x = rows(60)
    evidence = log_evidence(Linear(1.0), x, num_particles=20, seed=3)
    models = {"right": (Linear(), x), "given": evidence}
    settings = {"num_particles": 20, "seed": 0}
    frame = compare(models, columns=[*COLUMNS, *METRICS, Parameters()], **settings).to_frame()
    for name in ("frechet_distance", "recall", "mse", "active_units", "parameters"):
        assert math.isfinite(frame[name]["right"])
        assert math.isnan(frame[name]["given"])


class Regression(nn.Module):
    """y ~ Normal(slope x, 0.1) given x; with ``twice``, another site observes x, and has a latent."""

    def __init__(self, slope: float, twice: bool = False):
        super().__init__()
        self.slope, self.twice = slope, twice

    def model(self, x, y):
        with pyro.plate("rows", len(x)):
            if self.twice:
                z = pyro.sample("z", dist.Normal(0.0, 1.0))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)
            pyro.sample("y", dist.Normal(self.slope * x, 0.1), obs=y)

    def guide(self, x, y):
        if self.twice:
            with pyro.plate("rows", len(x)):
                pyro.sample("z", dist.Normal(x / 2, 0.7))


def test_draws_are_given_the_covariates_of_the_rows() -> None:
    x = torch.cat([torch.zeros(100), torch.full((100,), 10.0)])
    y = 2 * x + 0.1 * torch.randn(200)
    models = {"right": Regression(2.0), "wrong": Regression(2.5)}
    frame = table(models, (x, y), [FrechetDistance(), MSE(), ActiveUnits()]).to_frame()
    assert abs(frame["frechet_distance"]["right"]) < 0.1  # by chance only if x is kept
    assert frame["frechet_distance"]["wrong"] == pytest.approx(2.5**2 + 2.5**2, rel=0.1)
    assert frame[["mse", "active_units"]].isna().all().all()  # no latents


def test_a_site_among_several_is_named() -> None:
    x = torch.randn(50)
    data = (x, 2 * x)
    models = {"right": Regression(2.0, True), "wrong": Regression(3.0, True)}
    for column in (FrechetDistance(), MSE()):
        with refused("site", expected="one observed site", remedy="site=") as caught:
            table(models, data, [column])
        assert "'x'" in str(caught.value)
        assert "'y'" in str(caught.value)
    with refused("site", expected=""):
        table(models, data, [MSE(site="z")])
    frame = table(models, data, [FrechetDistance(site="y"), MSE(site="y")]).to_frame()
    assert frame["mse"]["wrong"] == pytest.approx(float((x**2).mean()), rel=1e-4)


def test_features_of_images() -> None:
    x = torch.rand(40, 1, 8, 8).round()
    models = {"right": VAE((1, 8, 8), 2), "other": VAE((1, 8, 8), 3)}
    features = random_network((1, 8, 8), 4)
    found = table(models, x, [FrechetDistance(features), PrecisionRecall(num_neighbours=2)])
    assert features.name in " ".join(str(found).split())
    assert "20 principal components of 40 rows" in " ".join(str(found).split())
    assert np.isfinite(found.to_frame()["frechet_distance"]).all()


def test_bad_columns_are_refused() -> None:
    with refused("features"):
        FrechetDistance(features=nn.Linear(2, 2))
    with refused("num_neighbours"):
        PrecisionRecall(num_neighbours=0)
    with refused("threshold"):
        ActiveUnits(threshold=0)
    with refused("site"):
        MSE(site=1)
    with refused("real", expected="or more") as caught:
        table({"right": Linear(), "other": Linear()}, rows(3), [FrechetDistance()])
    assert "the samples of" in str(caught.value)


def test_leave_one_out_still_draws_from_the_options_of_the_evidence() -> None:
    x = rows(30)
    frame = table({"right": Linear(), "other": Linear(1.0)}, x, [LOO()]).to_frame()
    assert frame["elpd_loo"]["right"] == pytest.approx(frame["log_evidence"]["right"])


def test_a_model_without_an_evidence_stands_last_with_its_other_columns() -> None:
    x = torch.rand(60, 1, 4, 4).round()
    models = {"code": Autoencoder((1, 4, 4), 2), "right": VAE((1, 4, 4), 2)}
    found = table(models, x, [*METRICS, RateDistortion(), Parameters()])
    frame = found.to_frame()
    assert list(frame.index) == ["right", "code"]
    alone = log_evidence(models["right"], x, num_particles=20, seed=model_seed(0, "right"))
    assert frame["log_evidence"]["right"] == pytest.approx(alone.total)
    assert frame["probability"]["right"] == 1
    nothing = (
        "log_evidence",
        "difference",
        "bayes_factor",
        "probability",
        "frechet_distance",
        "elbo",
    )
    assert frame.loc["code", list(nothing)].isna().all()
    assert frame.loc["code", ["mse", "parameters", "mse_difference"]].notna().all()
    assert any("'code' has no log p(data)" in note for note in found.notes)
    plot_comparison(found)
    with refused("code"):
        compare(models, x, num_particles=20, seed=0, reference="code")
    with refused("code"):
        compare({"code": models["code"], "other": models["code"]}, x, num_particles=20, seed=0)


def test_the_prior_as_guide_infers_nothing() -> None:
    x = torch.rand(60, 2)
    alone = with_prior_as_guide(GAN((2,), 1), sums_out=False)  # as the command line has it
    columns = [MSE(), ActiveUnits(), RateDistortion()]
    models = {"right": Linear2(), "gan": alone}
    frame = table(models, x, columns).to_frame()
    assert frame.loc["gan", ["mse", "active_units", "elbo"]].isna().all()
    assert frame.loc["right", ["mse", "active_units", "elbo"]].notna().all()


def test_the_elbo_is_that_of_the_exact_posterior() -> None:
    """With the posterior as guide the ELBO is log p(x), and its parts are known."""
    x = torch.randn(400, 2)
    frame = table({"right": Linear2(), "wide": Linear2(1.2)}, x, [RateDistortion(256)]).to_frame()
    exact = (
        dist.Normal(0.0, math.sqrt(1.25)).log_prob(x).sum(1)
    )  # x = z / 2 + noise, in each dimension
    assert frame["elbo"]["right"] == pytest.approx(float(exact.mean()), abs=0.01)
    mean, sd = 0.4 * x, math.sqrt(0.8)
    rate = 0.5 * (sd**2 + mean**2 - 1) - math.log(sd)
    error = 4 * frame["rate_error"]["right"] / math.sqrt(256) + 1e-3
    assert abs(frame["rate"]["right"] - float(rate.sum(1).mean())) < 4 * error
    assert frame["elbo"]["wide"] < frame["elbo"]["right"]


def test_seconds_of_an_epoch_are_those_that_are_given() -> None:
    models = {"right": Linear2(), "other": Linear2(1.1)}
    frame = table(models, torch.randn(20, 2), [EpochSeconds({"other": 0.5})]).to_frame()
    assert math.isnan(frame["epoch_seconds"]["right"])
    assert frame["epoch_seconds"]["other"] == 0.5
    with refused("the seconds of 'a'"):
        EpochSeconds({"a": -1.0})


class Linear2(nn.Module):
    """z ~ Normal(0, I), x ~ Normal(z / 2, 1), with the exact posterior as guide, perhaps widened."""

    def __init__(self, widened: float = 1.0):
        super().__init__()
        self.widened = widened

    def model(self, x):
        with pyro.plate("rows", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(0.5 * z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("rows", len(x)):
            sd = self.widened * math.sqrt(0.8)
            pyro.sample("z", dist.Normal(0.4 * x, sd).to_event(1))


def test_a_flat_prior_is_found_by_whatever_runs_it_first() -> None:
    """Annealing from the prior draws from it before any check of the structure."""
    x, few = torch.rand(12, 1, 4, 4).round(), {"num_particles": 4, "seed": 0, "device": "cpu"}
    code = with_prior_as_guide(Autoencoder((1, 4, 4), 2))
    models = {"code": (code, x), "right": (VAE((1, 4, 4), 2), x)}
    found = compare(models, method=Annealed(3, start="prior"), progress=False, **few)
    assert list(found.to_frame().index) == ["right", "code"]
