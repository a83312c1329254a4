"""Draws of the posterior: their moments against closed forms, their errors, their table."""

import random
from collections.abc import Iterator
from typing import Any

import arviz
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from posteriors import KNOWN, Known, normal_normal
from pyro.infer import config_enumerate
from refused import refused
from torch import Tensor, nn

from pyro_vae import fit, log_evidence, posterior, render_model
from pyro_vae.inference import NUTS, Annealed, Guide, Importance, Posterior, plot_intervals
from pyro_vae.inference.posterior.chains import chain_figures
from pyro_vae.inference.posterior.moments import shortest_interval
from pyro_vae.models import FactorAnalysis
from pyro_vae.program.contract import as_program
from pyro_vae.program.prior_guide import with_prior_as_guide

METHODS = [
    pytest.param(Importance(), 2000, id="importance"),
    pytest.param(Importance(prior_share=0.1), 2000, id="with the prior"),
    pytest.param(Annealed(num_temperatures=8, num_leapfrog=4), 400, id="annealed"),
    pytest.param(
        Annealed(num_temperatures=16, num_leapfrog=4, start="prior"), 400, id="from the prior"
    ),
    pytest.param(Guide(), 2000, id="guide"),
]


def errors_off(found: Posterior, known: Known) -> Tensor:
    """How many of its own standard errors each mean and each variance is off."""
    off = []
    for name, (mean, variance) in known.moments.items():
        z = found.particles[name].double()
        w = found.weights(name, z.dim())
        own_mean = (w * z).sum(0)
        squares = (z - own_mean).square()
        own_variance = (w * squares).sum(0)
        for figure, exact, part in (
            (own_mean, mean.reshape(own_mean.shape), z - own_mean),
            (own_variance, variance.reshape(own_mean.shape), squares - own_variance),
        ):
            error = (w.square() * part.square()).sum(0).sqrt()
            off.append(((figure - exact).abs() / error).flatten())
    return torch.cat(off)


def cases() -> Iterator[Any]:
    """Each method with each program; one program runs its particles one by one, which takes long."""
    for method in METHODS:
        for known in KNOWN:
            of_python = known.name == "python_code"
            # how particles run has nothing to do with how a chain starts, or whether it is annealed
            kind, num = method.values
            marks = [pytest.mark.slow] if of_python and isinstance(kind, Annealed) else []
            num = min(num, 60 if isinstance(kind, Annealed) else 500) if of_python else num
            yield pytest.param(known, kind, num, id=f"{method.id}-{known.name}", marks=marks)


@pytest.mark.parametrize(("known", "method", "num"), [*cases()])
def test_means_and_variances_are_those_of_the_closed_form(known, method, num) -> None:
    guide = known.exact if isinstance(method, Guide) else known.wide
    found = posterior((known.model, guide), **known.data, method=method, num_draws=num, seed=0)
    off = errors_off(found, known)
    assert off.max() < 4.5
    if len(off) > 20:  # about 1 where the errors are right, and the figures not all of one draw
        assert 0.5 < off.square().mean().sqrt() < 1.4


def test_a_guide_beside_the_posterior_is_not_made_right() -> None:
    """What importance sampling corrects, Guide shows as it is."""
    known = normal_normal()
    found = posterior((known.model, known.wide), known.args, method=Guide(), num_draws=2000, seed=0)
    assert errors_off(found, known).max() > 8


@pytest.mark.slow
@pytest.mark.parametrize("known", [k for k in KNOWN if k.name in ("groups", "regression")], ids=str)
def test_nuts(known) -> None:
    method = NUTS(num_chains=2, num_warmup=150)
    found = posterior(known.model, **known.data, method=method, num_draws=600, seed=0)
    for name, (mean, variance) in known.moments.items():
        z = found.draws[name].double().reshape(600, -1)
        of_chains = chain_figures(z, 2)
        assert ((z.mean(0) - mean.flatten()).abs() / of_chains.mcse).max() < 4.5
        sd_error = arviz.mcse(z.reshape(2, 300, -1)[..., 0].numpy(), method="sd")
        assert abs(z[:, 0].std() - variance.flatten()[0].sqrt()) < 4.5 * sd_error
        assert of_chains.r_hat.max() < 1.05


def test_intervals_of_a_mean_hold_as_often_as_they_say() -> None:
    known = normal_normal()
    mean, _ = known.moments["z"]
    program, inside = (known.model, known.wide), []
    for seed in range(60):
        found = posterior(program, known.args, num_draws=200, seed=seed).summary()
        frame = found.to_frame()
        off = (torch.tensor(frame["mean"].values) - mean).abs()
        inside.append(off < 1.96 * torch.tensor(frame["mcse"].values))
    share = torch.stack(inside).double()  # (60, 70): independent
    assert abs(float(share.mean()) - 0.95) < 4 * (0.95 * 0.05 / share.numel()) ** 0.5


def test_resampled_draws_have_the_moments_of_the_weights() -> None:
    known = normal_normal()
    found = posterior((known.model, known.wide), known.args, num_draws=4000, seed=0)
    mean = (found.weights("z", 2) * found.particles["z"]).sum(0)
    sd = known.moments["z"][1].sqrt()
    # systematic resampling adds less than independent draws would
    assert ((found.draws["z"].mean(0) - mean).abs() / (sd / 4000**0.5)).max() < 3


# --- the weights are those of the evidence ---------------------------------------------------------


def test_the_draws_are_those_of_the_evidence() -> None:
    known = normal_normal()
    program = known.model, known.wide
    evidence = log_evidence(program, known.args, num_particles=500, seed=3)
    found = posterior(program, known.args, num_draws=500, seed=3)
    torch.testing.assert_close(found.pareto_k, evidence.pareto_k, equal_nan=True)
    assert torch.equal(found.without_error, evidence.without_error)
    # smoothing moves the few largest weights alone
    assert (found.ess / evidence.ess - 1).abs().max() < 0.25


def test_weights_sum_to_one_and_keep_their_order() -> None:
    known = normal_normal()
    found = posterior((known.model, known.wide), known.args, num_draws=300, seed=0)
    torch.testing.assert_close(found.log_weights.exp().sum(0), torch.ones(70).double())
    assert found.index.shape == (300, 70)


def test_bad_weights_have_no_error_and_are_named() -> None:
    known = normal_normal()

    def narrow(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(known.moments["z"][0][: len(x)] + 0.5, 0.05))

    found = posterior((known.model, narrow), known.args, num_draws=200, seed=0)
    frame = found.summary().to_frame()
    bad = found.without_error.numpy()
    assert bad.mean() > 0.8
    assert frame["mcse"].isna().to_numpy().tolist() == bad.tolist()
    table = found.summary()
    assert table.doubtful == tuple(bad.tolist())
    _caption, warning, _, _, *lines = str(table).splitlines()
    assert "do not report" in warning
    for line in lines:
        if line.startswith("z["):
            row = table.rows.index(line.split()[0])
            assert line.count("(") == (4 if bad[row] else 0)
    assert "a few weights decide" in found.to_arviz().attrs["notes"]


def test_a_joint_posterior_takes_more_particles_than_draws() -> None:
    """Their weights lose about half, and all means are to be right. Units keep as many as draws."""

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    program = model, lambda x: pyro.sample("mean", dist.Normal(0.3, 0.4))
    options = {"args": (torch.randn(9),), "num_draws": 20, "seed": 0}
    assert posterior(program, **options).num_particles == 80
    assert posterior(program, **options, num_particles=30).num_particles == 30
    annealed = posterior(program, **options, method=Annealed(num_temperatures=2))
    assert annealed.num_particles == 20
    known = normal_normal()
    of_units = posterior((known.model, known.exact), known.args, num_draws=20, seed=0)
    assert of_units.num_particles == 20


def test_good_weights_have_no_warning() -> None:
    known = normal_normal()
    table = posterior((known.model, known.exact), known.args, num_draws=200, seed=0).summary()
    assert not table.warnings
    assert not any(table.doubtful)


def test_chains_that_do_not_agree_are_named() -> None:
    """Two modes, ten sds from each other: a chain stays where it has started."""

    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 3.0))
        pyro.sample("fixed", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z.square(), 0.5), obs=x)

    method = NUTS(num_chains=4, num_warmup=50)
    found = posterior(model, args=(torch.tensor(6.0),), method=method, num_draws=200, seed=0)
    table = found.summary()
    assert table.doubtful == (True, False)
    assert "the chains do not agree on 1 number" in str(table)
    grey, blue = (axes.collections[2].get_edgecolors()[0] for axes in plot_intervals(found).axes)
    assert tuple(grey) != tuple(blue)


# --- tiles, seeds, state --------------------------------------------------------------------------


def test_tiles_of_units_keep_their_order(small_blocks) -> None:
    """Each unit's posterior mean is its own, past the first tile."""
    known = normal_normal()
    found = posterior((known.model, known.exact), known.args, num_draws=400, seed=0)
    assert found.draws["z"].shape == (400, 70)
    assert errors_off(found, known).max() < 4.5
    again = found.predictive(seed=1)["x"].mean(0)  # about the unit's own mean
    centre = known.moments["z"][0][:, None]
    assert ((again - centre) / (0.8 / 400**0.5 + 0.4 / 400**0.5)).abs().max() < 5


def test_the_same_seed_gives_the_same_draws_and_leaves_the_generators() -> None:
    known = normal_normal()
    program = known.model, known.wide
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = posterior(program, known.args, num_draws=50, seed=7)
    second = posterior(program, known.args, num_draws=50, seed=7)
    other = posterior(program, known.args, num_draws=50, seed=8)
    assert torch.equal(first.draws["z"], second.draws["z"])
    assert torch.equal(first.predictive(seed=1)["x"], second.predictive(seed=1)["x"])
    assert not torch.equal(first.draws["z"], other.draws["z"])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]  # noqa: NPY002


def test_steps_to_where_no_matrix_has_a_root_are_rejected() -> None:
    """A Gaussian process has such places, of long scales: the chain does not end there."""

    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        matrix = (3.2 - z).reshape(*z.shape, 1, 1)  # the data draw z to the edge
        root = torch.linalg.cholesky(matrix)[..., 0, 0]
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(0.0, root.square() + 0.05), obs=x)

    method = NUTS(num_chains=2, num_warmup=60)
    x = 0.1 * torch.randn(20)
    found = posterior(model, args=(x,), method=method, num_draws=100, seed=0)
    assert 2.5 < found.draws["z"].min() < found.draws["z"].max() < 3.2


def test_chains_of_two_draws() -> None:
    known = KNOWN[3]
    method = NUTS(num_chains=2, num_warmup=5)
    found = posterior(known.model, known.args, method=method, num_draws=4, seed=1)
    assert found.draws["w"].isfinite().all()
    assert "w[0]" in str(found.summary())


def test_chains_of_one_seed_are_the_same() -> None:
    known = KNOWN[3]
    method = NUTS(num_chains=2, num_warmup=20)
    first, second = (
        posterior(known.model, known.args, method=method, num_draws=20, seed=1) for _ in range(2)
    )
    assert torch.equal(first.draws["w"], second.draws["w"])
    assert not torch.equal(first.draws["w"][:10], first.draws["w"][10:])


# --- masks, scales and enumeration, by NUTS ----------------------------------------------------------


@pytest.mark.slow
def test_nuts_sums_out_what_is_marked_and_leaves_scales_out() -> None:
    """Two components at -1 and 1 with drawn weights: the mean weight by quadrature."""
    x = torch.tensor([-1.0, 1.2, 0.9, 1.4, -0.2])

    @pyro.poutine.scale(scale=0.01)
    def model(x: Tensor) -> None:
        p = pyro.sample("p", dist.Beta(1.0, 1.0))
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Bernoulli(p), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(2 * which - 1, 0.5), obs=x)

    p = torch.linspace(0, 1, 4001).double()[1:-1]
    density = [dist.Normal(loc, 0.5).log_prob(x).exp().double() for loc in (-1.0, 1.0)]
    likelihood = ((1 - p[:, None]) * density[0] + p[:, None] * density[1]).log().sum(-1)
    weights = likelihood.softmax(0)
    method = NUTS(num_chains=2, num_warmup=150)
    found = posterior(model, x, method=method, num_draws=600, seed=0)
    mcse = chain_figures(found.draws["p"], 2).mcse
    assert abs(found.draws["p"].double().mean() - (weights * p).sum()) < 4.5 * mcse
    responsible = (
        p[:, None] * density[1] / ((1 - p[:, None]) * density[0] + p[:, None] * density[1])
    )
    exact = (weights[:, None] * responsible).sum(0)
    share = found.draws["which"].double().mean(0)
    assert ((share - exact).abs() < 5 * (exact * (1 - exact) / 300).sqrt() + 0.01).all()


def mixture(x: Tensor) -> None:
    weight = pyro.sample("weight", dist.Beta(1.0, 1.0))
    with pyro.plate("rows", len(x)):
        kind = pyro.sample("kind", dist.Bernoulli(weight))
        pyro.sample("x", dist.Normal(4 * kind, 1.0), obs=x)


def test_nuts_sums_out_what_is_not_marked() -> None:
    x, method = torch.tensor([0.1, -0.8, 3.9]), NUTS(num_chains=1, num_warmup=20)
    bare = posterior(mixture, x, method=method, num_draws=20, seed=0)
    marked = posterior(config_enumerate(mixture), x, method=method, num_draws=20, seed=0)
    for name in ("weight", "kind"):
        assert torch.equal(bare.draws[name], marked.draws[name])

    def branching(x: Tensor) -> None:
        kind = pyro.sample("kind", dist.Bernoulli(0.5))
        mean = pyro.sample("mean", dist.Normal(5.0 if kind else 0.0, 1.0))
        pyro.sample("x", dist.Normal(mean, 1.0).expand([3]).to_event(1), obs=x)

    with refused("kind", remedy="torch.where"):
        posterior(branching, args=(x,), method=method, num_draws=20)


def test_a_marked_module_keeps_its_parameters() -> None:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.far = nn.Parameter(torch.tensor(4.0))

        def model(self, x: Tensor) -> None:
            mixture(x)

    model = Mixture()
    assert list(as_program(with_prior_as_guide(model)).modules.values()) == [model]


def test_what_fit_returns_is_a_program() -> None:
    x = torch.tensor([0.1, -0.8, 3.9])
    result = fit(mixture, x, steps=3, progress=False)
    for verb in (log_evidence, posterior):
        first, second = (verb(p, x, num_particles=30, seed=0) for p in (result, result.program))
        assert repr(first) == repr(second)
    assert posterior(result, x, method=NUTS(1, 5), num_draws=5).num_draws == 5
    assert render_model(result, (x,)).to_dict()["guide"]["nodes"]
    assert fit(result, x, steps=2, progress=False).program is result.program


# --- the table ------------------------------------------------------------------------------------


def test_the_shortest_interval_is_that_of_a_known_distribution() -> None:
    """Of an exponential it starts at 0; of a normal it is central."""
    q = (torch.arange(20_000).double() + 0.5) / 20_000
    z = torch.stack([-(1 - q).log(), dist.Normal(0.0, 1.0).icdf(q)], -1)
    low, high = shortest_interval(z, torch.full_like(z, 1 / 20_000), 0.9)
    assert low.tolist() == pytest.approx([0.0, -1.645], abs=0.01)
    assert high.tolist() == pytest.approx([2.303, 1.645], abs=0.01)


def test_the_interval_is_that_of_arviz_for_equal_weights() -> None:
    z = torch.randn(999, 3).double().exp()
    low, high = shortest_interval(z, torch.full_like(z, 1 / 999), 0.8)
    probability = {"prob" if arviz.__version__ >= "1" else "hdi_prob": 0.8}
    hdi = np.stack([arviz.hdi(column.numpy(), **probability) for column in z.T])
    spacing = z.sort(0).values.diff(dim=0).median()
    assert np.abs(low.numpy() - hdi[:, 0]).max() < 20 * spacing
    assert np.abs(high.numpy() - hdi[:, 1]).max() < 20 * spacing + 0.05


def test_rows_and_columns_of_the_table() -> None:
    known = KNOWN[2]
    found = posterior((known.model, known.wide), **known.data, num_draws=300, seed=0)
    table = found.summary()
    frame = table.to_frame()
    assert list(frame.index) == ["mean", *(f"effect[{i}]" for i in range(6))]
    assert list(frame.columns) == ["mean", "sd", "hdi_3%", "hdi_97%", "mcse", "ess", "k"]
    mean, variance = known.moments["effect"]
    off = torch.tensor(frame["mean"].values[1:]) - mean
    assert (off.abs() < 5 * torch.tensor(frame["mcse"].values[1:])).all()
    sd = torch.tensor(frame["sd"].values[1:])
    assert sd.tolist() == pytest.approx(variance.sqrt().tolist(), rel=0.2)
    for text in (str(table), table._repr_html_()):
        assert all(name in text for name in ("effect[5]", "hdi_97%", "mcse"))
    assert list(found.summary(["mean"], probability=0.5).to_frame().columns)[2:4] == [
        "hdi_25%",
        "hdi_75%",
    ]


def test_sites_in_inner_plates_are_named_by_their_places() -> None:
    """The unit plate is not the first: the figures must follow the order of the names."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1), pyro.plate("parts", 2, dim=-2):
            z = pyro.sample("z", dist.Normal(torch.tensor([[0.0], [10.0]]), 1.0))
            pyro.sample("x", dist.Normal(z, 0.1), obs=x.T[:2])

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1), pyro.plate("parts", 2, dim=-2):
            pyro.sample("z", dist.Normal(x.T[:2], 0.12))

    x = torch.arange(6.0).reshape(3, 2)
    found = posterior((model, guide), x, unit="data", num_draws=500, seed=0)
    assert found.dims("z") == ("parts", "data")
    means = dict(zip(found.summary().rows, found.summary().columns["mean"], strict=True))
    assert means["z[0, 2]"] == pytest.approx(float(x[2, 0]), abs=0.1)
    assert means["z[1, 0]"] == pytest.approx(float(x[0, 1]) + 0.09, abs=0.1)


def test_an_unknown_site_is_named() -> None:
    found = posterior(FactorAnalysis((3,), 2), torch.randn(4, 3), num_draws=10, seed=0)
    with refused("zz"):
        found.summary(["zz"])
    with refused("probability"):
        found.summary(probability=2)
    with refused("num"):
        found.predictive(num=100)


def test_methods_that_do_not_fit_are_refused() -> None:
    model, x = FactorAnalysis((3,), 2), torch.randn(4, 3)
    with refused("num_particles"):
        posterior(model, x, method=Guide(), num_particles=100)
    with refused("num_draws"):
        posterior(model, x, method=NUTS(num_chains=3), num_draws=100)
    with refused("method"):
        posterior(model, x, method="exact")
    with refused("method"):
        posterior(model, x, method=Guide)
    with refused("program"):
        posterior(lambda x: None, x)


# --- what the model computes ------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["plates", "vmap", "python"])
def test_deterministic_sites_are_among_the_draws(code) -> None:
    """Effects that are not centred: each draw's are computed from that draw."""

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        spread = pyro.sample("spread", dist.LogNormal(0.0, 0.3))
        with pyro.plate("groups", 4):
            raw = pyro.sample("raw", dist.Normal(0.0, 1.0))
            effect = pyro.deterministic("effect", mean + spread * raw)
            if code == "vmap":
                assert raw.shape == (4,)
            if code == "python":
                assert float(spread.detach()) > 0
            pyro.sample("x", dist.Normal(effect, 1.0), obs=x)
        pyro.deterministic("ratio", torch.stack([mean / spread, spread], -1), event_dim=1)

    def guide(x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(0.0, 1.0))
        pyro.sample("spread", dist.LogNormal(0.0, 0.3))
        with pyro.plate("groups", 4):
            pyro.sample("raw", dist.Normal(0.0, 1.0))

    x = torch.tensor([-1.0, 0.0, 1.0, 2.0])
    found = posterior((model, guide), args=(x,), num_draws=60, seed=0)
    draws = found.draws
    effect = draws["mean"][:, None] + draws["spread"][:, None] * draws["raw"]
    torch.testing.assert_close(draws["effect"], effect)
    torch.testing.assert_close(
        draws["ratio"], torch.stack([draws["mean"] / draws["spread"], draws["spread"]], -1)
    )
    assert found.dims("effect") == ("groups",)
    assert found.computed == ("effect", "ratio")
    assert set(found.latents) == {"mean", "spread", "raw"}
    assert "effect[3]" in found.summary().rows
    assert found.predictive(seed=0)["x"].shape == (60, 4)
    if code == "python":  # the same, one by one
        return
    rows = found.log_likelihood(num_inner=300, seed=0)  # raw is a row's own latent
    exact = dist.Normal(
        draws["mean"][:, None], (1 + draws["spread"][:, None] ** 2).sqrt()
    ).log_prob(x)
    assert float((rows - exact).abs().mean()) < 0.06
    assert dict(found.to_arviz(num_inner=2)["posterior"]["effect"].sizes)["groups"] == 4


def test_deterministic_sites_of_units_are_joined_over_tiles(small_blocks) -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.deterministic("double", 2 * z)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)
        pyro.deterministic("size", torch.tensor(float(len(x))))  # of no unit: left out

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.8))

    found = posterior((model, guide), torch.randn(150), num_draws=30, seed=0)
    torch.testing.assert_close(found.draws["double"], 2 * found.draws["z"])
    assert found.computed == ("double",)
