"""Predictions of a posterior, the log-likelihood by row, and LOO: against Gaussian closed forms."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from posteriors import KNOWN, normal_normal
from refused import refused
from torch import Tensor

from pyro_vae import log_evidence, posterior
from pyro_vae.inference import NUTS, Guide, Importance, Posterior, plot_predictive
from pyro_vae.models import SemiSupervisedVAE

GROUPS, REGRESSION = KNOWN[2], KNOWN[3]


def of(known, method=None, num: int = 4000) -> Posterior:
    """Independent, exact draws unless a method is named."""
    program = known.model, known.exact
    return posterior(program, **known.data, method=method or Guide(), num_draws=num, seed=0)


# --- of the data -----------------------------------------------------------------------------------


def test_replicated_data_have_the_moments_of_the_posterior_predictive() -> None:
    known = normal_normal()
    found = of(known).predictive(seed=1)["x"].double()  # (4000, 70, 3)
    loc, variance = known.moments["z"]
    off = (found.mean(0) - loc[:, None]) / ((variance[:, None] + 0.64) / 4000).sqrt()
    assert off.abs().max() < 4.5
    spread = found.var(0) / (variance[:, None] + 0.64) - 1
    assert (spread.abs() / math.sqrt(2 / 4000)).max() < 4.5
    # the latent is shared by a unit's three values
    covariance = ((found[..., 0] - loc) * (found[..., 1] - loc)).mean(0)
    assert float(covariance.mean()) == pytest.approx(float(variance[0]), rel=0.05)


def test_fewer_draws_are_taken_evenly_from_all() -> None:
    method = NUTS(num_chains=2, num_warmup=30)
    found = posterior(REGRESSION.model, REGRESSION.args, method=method, num_draws=20, seed=0)
    x, y = REGRESSION.args

    def noiseless(x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal(x @ w, 1e-6), obs=y)

    from dataclasses import replace

    changed = replace(
        found, source=replace(found.source, program=(noiseless, found.source.program[1]))
    )
    drawn = changed.predictive((x, y), num=4, seed=0)["y"]
    torch.testing.assert_close(drawn, (found.draws["w"][::5] @ x.T), atol=1e-4, rtol=0)


# --- of new rows -----------------------------------------------------------------------------------


def test_new_rows_of_a_regression() -> None:
    """Shared weights by code for one particle: mean, variance and density are Gaussian."""
    found, x = of(REGRESSION), REGRESSION.args[0]
    loc = REGRESSION.moments["w"][0]
    covariance = torch.linalg.inv(torch.eye(3) + x.T @ x / 0.25)
    new_x = torch.randn(7, 3)
    new_y = new_x @ loc + 0.7 * torch.randn(7)
    exact = dist.Normal(new_x @ loc, ((new_x @ covariance) * new_x).sum(-1).add(0.25).sqrt())
    drawn = found.predictive((new_x, torch.zeros(7)), seed=1)["y"].double()
    assert drawn.shape == (4000, 7)
    assert ((drawn.mean(0) - exact.mean) / (exact.stddev / 4000**0.5)).abs().max() < 4.5
    assert ((drawn.var(0) / exact.variance - 1).abs() / math.sqrt(2 / 4000)).max() < 4.5
    density = found.log_predictive((new_x, new_y), seed=1)
    error = density.standard_error
    assert ((density.log_density - exact.log_prob(new_y)).abs() < 4.5 * error + 1e-4).all()
    assert density.total == pytest.approx(float(exact.log_prob(new_y).sum()), abs=0.2)


def test_a_response_that_is_left_out() -> None:
    def model(x: Tensor, y: Tensor | None = None) -> None:
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("y", dist.Normal(a * x, 0.5), obs=y)

    x = torch.randn(9)
    method = NUTS(num_chains=1, num_warmup=50)
    found = posterior(model, (x, 2 * x), method=method, num_draws=50, seed=0)
    drawn = found.predictive(torch.tensor([0.0, 10.0, 20.0]), seed=0)["y"]
    assert drawn.shape == (50, 3)
    assert 1.0 < float(drawn[:, 1].mean() / 10) < 2.2


def test_new_groups_come_from_the_prior_given_the_shared_latents() -> None:
    """effect ~ Normal(mean, 0.7) for a new group: nothing of the old groups' own effects."""
    found, (mean, variance) = of(GROUPS), GROUPS.moments["mean"]

    drawn = found.predictive(torch.zeros(6, 3), seed=1)["x"].double()
    total = variance + 0.49 + 0.25
    assert drawn.shape == (4000, 6, 3)
    assert ((drawn.mean(0) - mean) / (total / 4000).sqrt()).abs().max() < 4.5
    assert ((drawn.var(0) / total - 1).abs() / math.sqrt(2 / 4000)).max() < 4.5
    new = torch.randn(6, 3)
    density = found.log_predictive(new, seed=1)
    covariance = (variance + 0.49) * torch.ones(3, 3) + 0.25 * torch.eye(3)
    exact = dist.MultivariateNormal(mean.expand(3), covariance).log_prob(new)
    known = ~density.standard_error.isnan()
    assert known.sum() >= 4
    off = (density.log_density - exact)[known].abs() / density.standard_error[known]
    assert off.max() < 4.5


def test_units_that_share_nothing_have_their_evidence() -> None:
    known = normal_normal()
    found, new = of(known), torch.randn(5, 3)
    density = found.log_predictive(new, seed=3)
    evidence = log_evidence((known.model, known.exact), new, num_particles=4000, seed=3)
    torch.testing.assert_close(density.log_density, evidence.log_evidence)
    drawn = found.predictive(new, seed=3)["x"].double()  # latents of new rows: the prior
    assert ((drawn.mean(0) - 0.5) / (1.64 / 4000) ** 0.5).abs().max() < 4.5


def test_new_rows_that_do_not_fit_are_refused() -> None:
    def model(x: Tensor, group: Tensor, num_groups: int = 3) -> None:
        with pyro.plate("groups", int(group.max()) + 1):
            level = pyro.sample("level", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(level[group], 1.0), obs=x)

    x, group = torch.randn(6), torch.tensor([0, 0, 1, 1, 2, 2])
    method = NUTS(num_chains=1, num_warmup=20)
    found = posterior(model, args=(x, group), method=method, num_draws=20, seed=0)
    assert found.draws["level"].shape == (20, 3)
    with refused("level", remedy="number the groups"):
        found.predictive((x[:2], torch.tensor([0, 1])))
    with refused("model"):
        found.predictive(x)  # without the groups
    with refused("new"):
        found.predictive(3.5)


def test_rows_that_are_one_draw_have_no_new_ones() -> None:
    """Given the scale, a new value of a Gaussian process depends on those that were seen."""

    def model(x: Tensor, y: Tensor) -> None:
        scale = pyro.sample("scale", dist.LogNormal(0.0, 0.5))
        close = (-(x.unsqueeze(-1) - x).square()).exp() + torch.eye(len(x))
        covariance = scale.reshape(*scale.shape, 1, 1) * close
        pyro.sample("y", dist.MultivariateNormal(torch.zeros(len(x)), covariance), obs=y)

    x, guide = torch.linspace(0, 3, 5), lambda x, y: pyro.sample("scale", dist.LogNormal(0.0, 0.5))
    found = posterior((model, guide), args=(x, torch.randn(5)), num_draws=20, seed=0)
    assert found.predictive(seed=0)["y"].shape == (20, 5)
    for predict in (found.predictive, found.log_predictive):
        with refused("model", expected="plate", remedy="posterior.draws"):
            predict((x, torch.zeros(5)))


# --- the log-likelihood by row, and LOO -----------------------------------------------------------


def test_a_rows_own_latents_are_integrated_out() -> None:
    found, (x,) = of(GROUPS, num=300), GROUPS.args
    rows = found.log_likelihood(num_inner=400, seed=0)
    assert rows.shape == (300, 6)  # a row is a group
    covariance = 0.49 * torch.ones(3, 3) + 0.25 * torch.eye(3)
    mean = found.draws["mean"].reshape(-1, 1, 1).expand(300, 6, 3)
    exact = dist.MultivariateNormal(mean, covariance).log_prob(x)
    assert float((rows - exact).abs().mean()) < 0.04
    assert abs(float((rows - exact).mean())) < 0.01


def test_own_latents_are_integrated_out_where_the_prior_is_narrow() -> None:
    """Eight schools, centred. Where tau is near 0, no draw near the school's posterior is near mu."""
    y = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    error = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])

    def model(y: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(5.0))
        with pyro.plate("schools", 8):
            effect = pyro.sample("effect", dist.Normal(mu, tau))
            pyro.sample("y", dist.Normal(effect, error), obs=y)

    def guide(y: Tensor) -> None:
        mu = pyro.sample("mu", dist.Normal(4.4, 3.5))
        tau = pyro.sample("tau", dist.LogNormal(0.5, 1.5))
        with pyro.plate("schools", 8):
            variance = 1 / (tau**-2 + error**-2)
            effect = variance * (mu * tau**-2 + y * error**-2)
            pyro.sample("effect", dist.Normal(effect, variance.sqrt()))

    found = posterior((model, guide), args=(y,), num_draws=400, seed=0)
    mu, tau = found.draws["mu"][:, None].double(), found.draws["tau"][:, None].double()
    assert tau.min() < 0.1
    exact = dist.Normal(mu, (tau.square() + error.square()).sqrt()).log_prob(y)
    off = found.log_likelihood(seed=0) - exact
    assert off.abs().max() < 0.5
    ratio = off.exp()  # the mean of an unbiased estimate is 1
    error_of_mean = ratio.mean(0).sub(1).abs() / (ratio.std(0) / 400**0.5)
    assert error_of_mean.max() < 4.5


def test_given_its_own_latents_a_row_has_the_likelihood_of_its_sites() -> None:
    found, (x,) = of(GROUPS, num=50), GROUPS.args
    rows = found.log_likelihood(conditional=True)
    effect = found.draws["effect"].unsqueeze(-1)
    torch.testing.assert_close(rows, dist.Normal(effect, 0.5).log_prob(x).sum(-1))


def test_summed_out_latents_are_summed_out_of_a_row() -> None:
    def model(x: Tensor) -> None:
        p = pyro.sample("p", dist.Beta(2.0, 2.0))
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Bernoulli(p), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(3 * which, 1.0), obs=x)

    x = torch.tensor([0.0, 1.5, 3.0, 3.5])
    found = posterior(
        (model, lambda x: pyro.sample("p", dist.Beta(2.0, 2.0))), x, num_draws=40, seed=0
    )
    p = found.draws["p"][:, None]
    exact = torch.logaddexp(
        (1 - p).log() + dist.Normal(0.0, 1.0).log_prob(x),
        p.log() + dist.Normal(3.0, 1.0).log_prob(x),
    )
    torch.testing.assert_close(found.log_likelihood(), exact)
    given = found.log_likelihood(conditional=True)
    torch.testing.assert_close(given, dist.Normal(3 * found.draws["which"], 1.0).log_prob(x))


def test_rows_of_a_random_walk_are_refused_and_named() -> None:
    def model(x: Tensor) -> None:
        scale = pyro.sample("scale", dist.Gamma(2.0, 2.0))
        with pyro.plate("time", len(x)):
            step = pyro.sample("step", dist.Normal(0.0, scale))
            pyro.sample("x", dist.Normal(step.cumsum(-1), 1.0), obs=x)

    method = NUTS(num_chains=1, num_warmup=30)
    found = posterior(model, args=(torch.randn(6).cumsum(0),), method=method, num_draws=30, seed=0)
    with refused("time", remedy="conditional=True"):
        found.log_likelihood()
    assert found.log_likelihood(conditional=True).shape == (30, 6)


def test_units_that_share_nothing_have_no_log_likelihood_by_draw() -> None:
    known = normal_normal()
    found = of(known, num=20)
    with refused("posterior", remedy="conditional=True"):
        found.log_likelihood()
    rows = found.log_likelihood(conditional=True)
    exact = dist.Normal(found.draws["z"].unsqueeze(-1), 0.8).log_prob(known.args[0]).sum(-1)
    torch.testing.assert_close(rows, exact)


# --- ArviZ ------------------------------------------------------------------------------------------


def exact_loo(x: Tensor) -> float:
    """Sum of log p(x_i | the other groups), of the groups with an effect each."""
    covariance = torch.block_diag(*[0.49 * torch.ones(3, 3) + 0.25 * torch.eye(3)] * 6) + 4.0
    flat, total = x.flatten().double(), 0.0
    everything = dist.MultivariateNormal(torch.zeros(18).double(), covariance.double())
    for i in range(6):
        rest = torch.ones(18, dtype=torch.bool)
        rest[3 * i : 3 * i + 3] = False
        others = dist.MultivariateNormal(
            torch.zeros(15).double(), covariance.double()[rest][:, rest]
        )
        total += float(everything.log_prob(flat) - others.log_prob(flat[rest]))
    return total


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Estimated shape parameter")
@pytest.mark.parametrize(
    "method", [Importance(), NUTS(num_chains=2, num_warmup=150)], ids=["importance", "nuts"]
)
def test_loo_of_arviz_is_the_exact_one(method, tmp_path) -> None:
    import arviz

    program = GROUPS.model, GROUPS.wide
    found = posterior(program, **GROUPS.data, method=method, num_draws=600, seed=0)
    exported = found.to_arviz(num_inner=100)
    loo = arviz.loo(exported)
    elpd = getattr(loo, "elpd_loo", None) or loo.elpd
    assert float(elpd) == pytest.approx(exact_loo(GROUPS.args[0]), abs=0.25)
    found.to_netcdf(tmp_path / "posterior.nc", num_inner=5)
    again = arviz.from_netcdf(str(tmp_path / "posterior.nc"))
    assert again["posterior"]["effect"].shape == exported["posterior"]["effect"].shape


def test_groups_and_dimensions_of_the_export() -> None:
    def model(x: Tensor, y: Tensor) -> None:
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("data", len(y)):
            pyro.sample("y", dist.Normal((x * w).sum(-1), 0.5), obs=y)

    def guide(x: Tensor, y: Tensor) -> None:
        pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    x, y = torch.randn(5, 2), torch.randn(5)
    found = posterior((model, guide), (x, y), num_draws=30, num_particles=100, seed=0)
    exported = found.to_arviz()
    assert dict(exported["posterior"]["w"].sizes) == {"chain": 1, "draw": 30, "w_dim_0": 2}
    assert dict(exported["posterior_predictive"]["y"].sizes) == {"chain": 1, "draw": 30, "data": 5}
    assert dict(exported["log_likelihood"]["y"].sizes) == {"chain": 1, "draw": 30, "data": 5}
    assert exported["observed_data"]["y"].values.tolist() == y.tolist()
    assert set(exported["constant_data"].data_vars) == {"x"}
    assert exported["constant_data"]["x"].values.tolist() == x.tolist()
    stats = exported["sample_stats"]
    assert set(stats.data_vars) == {"log_weight", "pareto_k"}
    assert (
        stats["log_weight"].values[0].tolist() == found.log_weights[found.index[:, 0], 0].tolist()
    )
    assert exported.attrs["method"] == found.method


def test_what_a_mask_takes_out_is_not_among_the_data() -> None:
    """Neither in the export nor in the picture: there it is a value that fills the place."""

    def model(x: Tensor, seen: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)), pyro.poutine.mask(mask=seen):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    x, seen = torch.tensor([0.3, 99.0, -0.2, 99.0]), torch.tensor([True, False, True, False])
    guide = lambda x, seen: pyro.sample("mean", dist.Normal(0.0, 1.0))  # noqa: E731
    found = posterior((model, guide), args=(x, seen), num_draws=30, seed=0)
    exported = found.to_arviz()
    observed = torch.tensor(exported["observed_data"]["x"].values)
    torch.testing.assert_close(observed, torch.where(seen, x, torch.nan), equal_nan=True)
    assert set(exported["constant_data"].data_vars) == {"seen"}
    assert max(plot_predictive(found, num=20).axes[0].get_xlim()) < 50


def test_several_tiles_are_exported_in_their_order(small_blocks) -> None:
    known = normal_normal()
    exported = of(known, num=20).to_arviz()
    assert torch.equal(torch.tensor(exported["observed_data"]["x"].values), known.args[0])
    assert "log_likelihood" not in exported
    assert "no log_likelihood" in exported.attrs["notes"]
    assert exported["posterior"]["z"].dims == ("chain", "draw", "data")


def test_an_argument_with_the_name_of_a_latent_has_another() -> None:
    model = SemiSupervisedVAE((4,), 2, num_classes=3)
    x, labels = torch.bernoulli(torch.full((6, 4), 0.5)), torch.tensor([0, 1, 2, -1, -1, 0])
    exported = posterior(model, (x, labels), num_draws=5, seed=0).to_arviz()
    assert exported["constant_data"]["y_argument"].values.tolist() == labels.tolist()
    assert exported["posterior"]["y"].shape == (1, 5, 6, 3)


def test_the_prior_is_exported_with_its_predictions() -> None:
    """mean ~ Normal(0, 2), effect | mean, x | effect: draws of one another, in the rows' dimensions."""
    found = posterior((GROUPS.model, GROUPS.exact), **GROUPS.data, num_draws=500, seed=0)
    exported = found.to_arviz(num_inner=2)
    prior, drawn = exported["prior"], exported["prior_predictive"]
    assert dict(prior["effect"].sizes) == {"chain": 1, "draw": 500, "groups": 6}
    assert dict(drawn["x"].sizes) == {"chain": 1, "draw": 500, "groups": 6, "values": 3}
    mean, effect, x = (v.values[0] for v in (prior["mean"], prior["effect"], drawn["x"]))
    errors = (mean / 2, (effect - mean[:, None]) / 0.7, (x - effect[..., None]) / 0.5)
    for standard in map(torch.as_tensor, errors):
        count = standard.numel()
        assert abs(standard.mean()) < 4.5 / math.sqrt(count)
        assert abs(standard.var() - 1) < 4.5 * math.sqrt(2 / count)


def test_a_flat_prior_is_left_out_of_the_export() -> None:
    def model(x: Tensor) -> None:
        flat = dist.ImproperUniform(dist.constraints.real, (), ())
        mean = pyro.sample("mean", flat)
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    guide = lambda x: pyro.sample("mean", dist.Normal(x.mean(), 0.3))  # noqa: E731
    found = posterior((model, guide), args=(torch.randn(9),), method=Guide(), num_draws=40, seed=0)
    exported = found.to_arviz()
    assert "no prior" in exported.attrs["notes"]
    assert exported["log_likelihood"]["x"].shape == (1, 40, 9)
