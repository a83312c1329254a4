"""Guides made from a model alone, against posteriors and evidences in closed form."""

import math
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from refused import refused
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_vae import fit, log_evidence
from pyro_vae.guides import AutoAmortized
from pyro_vae.inference import Evidence
from pyro_vae.inference.svi.run_control import RunControl
from pyro_vae.networks import MLP
from pyro_vae.testing import check_program

SMALL = partial(MLP, hidden_dims=(32, 32))


def trained(model: Any, x: Tensor, steps: int = 2000, **options: Any) -> tuple[Any, AutoAmortized]:
    torch.manual_seed(0)
    guide = AutoAmortized(model, x, network=SMALL)
    epochs = steps * options.get("batch_size", len(x)) // len(x)
    fit(
        (model, guide),
        x,
        epochs=epochs,
        optimizer=partial(Adam, lr=5e-3),
        lr_schedule=partial(CosineAnnealingLR, T_max=epochs),
        progress=False,
        device="cpu",
        **options,
    )
    return model, guide


def normal_pairs(x: Tensor) -> None:
    """Two values of each unit: z | x is Normal(sum x / 3, 1 / 3)."""
    with pyro.plate("units", len(x), dim=-2):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("values", 2, dim=-1):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def counts(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        rate = pyro.sample("rate", dist.Gamma(2.0, 0.5))
        pyro.sample("x", dist.Poisson(rate), obs=x)


def shares(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        share = pyro.sample("share", dist.Beta(2.0, 3.0))
        pyro.sample("x", dist.Binomial(5, share), obs=x)


def variances(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        variance = pyro.sample("variance", dist.InverseGamma(3.0, 2.0))
        pyro.sample("x", dist.Normal(0.0, variance.sqrt()), obs=x)


def two_causes(x: Tensor) -> None:
    """x is known exactly, nearly: a and b are each other's mirror image."""
    with pyro.plate("units", len(x)):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(a + b, 0.1), obs=x)


def classes(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        which = pyro.sample("which", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
        z = pyro.sample("z", dist.Normal(3 * which, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def steps_of_time(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        z: Any = 0.0
        for t in range(3):
            z = pyro.sample(f"z_{t}", dist.Normal(z, 1.0))
            pyro.sample(f"x_{t}", dist.Normal(z, 1.0), obs=x[:, t])


def groups(x: Tensor) -> None:
    """Random effects: a mean and a spread that all groups share."""
    mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    spread = pyro.sample("spread", dist.LogNormal(0.0, 0.5))
    with pyro.plate("groups", len(x), dim=-2):
        effect = pyro.sample("effect", dist.Normal(mean, spread))
        with pyro.plate("values", 2, dim=-1):
            pyro.sample("x", dist.Normal(effect, 0.5), obs=x)


def covariance_of_steps() -> Tensor:
    steps = torch.arange(1.0, 4.0)
    return torch.minimum(steps, steps[:, None]) + torch.eye(3)


STEPS = dist.MultivariateNormal(torch.zeros(3), covariance_of_steps())
PAIRS = dist.MultivariateNormal(torch.zeros(2), torch.ones(2, 2) + torch.eye(2))


FIVE = dist.BetaBinomial(2.0, 3.0, 5)
STUDENT = dist.StudentT(6.0, 0.0, (2 / 3) ** 0.5)


def agrees(evidence: Evidence, exact: Tensor) -> bool:
    """Within 4 standard errors of the mean, by the spread over units; a log of a mean is a little low."""
    off = evidence.log_evidence - exact
    return bool(abs(off.mean()) < 4 * off.std() / len(off) ** 0.5 + 1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "draw", "log_prob", "most"),
    [
        (normal_pairs, PAIRS.sample, PAIRS.log_prob, 0.02),
        # the prior's own family holds the posterior
        (counts, dist.GammaPoisson(2.0, 0.5).sample, dist.GammaPoisson(2.0, 0.5).log_prob, 0.01),
        pytest.param(shares, FIVE.sample, FIVE.log_prob, 0.01, marks=pytest.mark.slow),
        pytest.param(variances, STUDENT.sample, STUDENT.log_prob, 0.01, marks=pytest.mark.slow),
        (
            two_causes,
            dist.Normal(0.0, 2.01**0.5).sample,
            dist.Normal(0.0, 2.01**0.5).log_prob,
            0.05,
        ),
        pytest.param(steps_of_time, STEPS.sample, STEPS.log_prob, 0.05, marks=pytest.mark.slow),
    ],
)
def test_the_elbo_of_new_units_is_nearly_their_evidence(model, draw, log_prob, most) -> None:
    torch.manual_seed(0)
    x, new = draw((2000,)), draw((300,))
    program = trained(model, x, 1500, batch_size=100)
    evidence = log_evidence(program, new, num_particles=500, seed=0)
    exact = log_prob(new).double()
    assert agrees(evidence, exact)
    gap = (exact - evidence.bounds[1]).mean()
    assert gap < most
    assert (evidence.ess > 0.8 * 500).double().mean() > 0.9


def test_what_is_summed_out_leaves_the_rest_right() -> None:
    torch.manual_seed(0)
    x = 3 * (torch.rand(500) < 0.3) + 2**0.5 * torch.randn(500)
    evidence = log_evidence(trained(classes, x, 500, batch_size=100), x, num_particles=500, seed=0)
    parts = dist.Normal(torch.tensor([0.0, 3.0]), 2**0.5).log_prob(x[:, None])
    exact = (parts + torch.tensor([0.7, 0.3]).log()).logsumexp(-1).double()
    assert agrees(evidence, exact)


@pytest.mark.slow
def test_what_all_groups_share_is_not_too_certain() -> None:
    """Mean field makes the mean's posterior much too narrow."""
    torch.manual_seed(0)
    x = 1 + torch.randn(100, 1) + 0.5 * torch.randn(100, 2)
    program = trained(groups, x, 1000)
    means, spreads = torch.meshgrid(
        torch.linspace(0.3, 1.7, 120), torch.linspace(0.6, 1.6, 120), indexing="ij"
    )
    covariance = spreads.square()[..., None, None] * torch.ones(2, 2) + torch.eye(2) / 4
    each = dist.MultivariateNormal(
        means[..., None, None].expand(120, 120, 1, 2), covariance.unsqueeze(-3)
    )
    log_joint = each.log_prob(x).sum(-1).double()
    log_joint += dist.Normal(0.0, 3.0).log_prob(means) + dist.LogNormal(0.0, 0.5).log_prob(spreads)
    cell = (means[1, 0] - means[0, 0]) * (spreads[0, 1] - spreads[0, 0])
    exact = log_joint.flatten().logsumexp(0) + cell.log()
    weights = log_joint.flatten().softmax(0)
    mean = (weights * means.flatten()).sum()
    sd = (weights * (means.flatten() - mean).square()).sum().sqrt()
    draws = program[1].shared.joint.distribution().sample((100_000,))[:, 0]
    assert abs(draws.mean() - mean) < 0.3 * sd
    assert abs(draws.std() / sd - 1) < 0.15
    elbo = log_evidence(program, args=(x,), num_particles=500, seed=0).bounds[1].item()
    assert exact.item() - elbo < 0.03 * 100  # nats of 100 groups and what they share


def pairs_with_gaps(x: Tensor) -> None:
    with pyro.plate("units", len(x), dim=-2):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("values", 4, dim=-1), poutine.mask(mask=~x.isnan()):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.nan_to_num())


def test_a_gap_is_not_an_average_value() -> None:
    """Given the same sum, z is the surer the more values there are: its sd is 1 / sqrt(1 + n)."""
    torch.manual_seed(0)
    x = torch.randn(2000, 1) + torch.randn(2000, 4)
    x = x.masked_fill(torch.rand(2000, 4) < 0.5, torch.nan)
    _, guide = trained(pairs_with_gaps, x, 500, batch_size=100)
    with torch.no_grad():
        scales = guide.local.factors["z"](guide.local.columns([x])).stddev.squeeze(-1)
    exact = (1 + (~x.isnan()).sum(1)).rsqrt()
    assert (scales / exact - 1).abs().mean() < 0.05


def test_priors_with_a_pole_get_no_factor_of_their_family() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("units", len(x)):
            z = pyro.sample("z", dist.Gamma(0.5, 0.5))
            pyro.sample("x", dist.Poisson(z), obs=x)

    assert "transformed normal" in str(AutoAmortized(model, torch.ones(5), network=SMALL))


def test_it_is_a_program_like_any_other() -> None:
    x = torch.randn(30, 2)
    report = check_program((normal_pairs, AutoAmortized(normal_pairs, x, network=SMALL)), x)
    assert not report.failed, str(report)


def words(model: Any, *args: Tensor) -> str:
    return str(AutoAmortized(model, *args, network=SMALL)).splitlines()[0]


def test_it_says_how_it_factorises() -> None:
    one, two = torch.zeros(6), torch.zeros(6, 2)
    assert words(normal_pairs, two) == "prod_units q(z | rows)"
    assert words(two_causes, one) == "prod_units q(a | rows) q(b | rows, a)"
    assert words(groups, two) == "q(mean, spread) prod_groups q(effect | rows, mean, spread)"
    assert words(classes, one) == "prod_units q(z | rows)"
    chain = "prod_units q(z_0 | rows) q(z_1 | rows, z_0) q(z_2 | rows, z_1)"
    assert words(steps_of_time, torch.zeros(6, 3)) == chain


def test_cells_within_a_unit_and_events() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("units", len(x), dim=-2):
            weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
            with pyro.plate("cells", 4, dim=-1):
                z = pyro.sample("z", dist.HalfNormal(weights[..., 0]))
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    guide = AutoAmortized(model, torch.randn(9, 4), network=SMALL)
    with poutine.trace() as tracer:
        values = guide(torch.randn(5, 4))
    assert values["weights"].shape == (5, 1, 3)
    assert values["z"].shape == (5, 4)
    assert (values["z"] > 0).all()
    tracer.trace.compute_log_prob()
    assert tracer.trace.nodes["z"]["log_prob"].shape == (5, 4)
    assert log_evidence((model, guide), torch.randn(7, 4), num_particles=3, seed=0).num_units == 7


def in_units(prior: Any, **infer: Any) -> Any:
    def model(x: Tensor) -> None:
        with pyro.plate("units", len(x)):
            z = pyro.sample("z", prior(x), infer=infer)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    return model


def scaled_by_another(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        top = pyro.sample("top", dist.Gamma(2.0, 1.0))
        z = pyro.sample("z", dist.Uniform(0.0, top))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def of_its_own(x: Tensor) -> None:
    with pyro.plate("units", 100, subsample_size=len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.mark.parametrize(
    ("model", "subject", "remedy"),
    [
        (in_units(lambda x: dist.Poisson(1.0)), "z", "summed out"),
        (in_units(lambda x: dist.Uniform(0.0, 1 + x.abs())), "z", "(0, 1)"),
        (scaled_by_another, "z", "(0, 1)"),
        (of_its_own, "units", "as long as they are"),
        (
            in_units(lambda x: dist.ImproperUniform(dist.constraints.real, (), ())),
            "model",
            "proper",
        ),
        (3, "model", None),
        (torch.nn.Linear(5, 1), "model", "obs="),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(model, subject, remedy) -> None:
    with refused(subject, **({"remedy": remedy} if remedy else {})):
        AutoAmortized(model, torch.arange(5.0))


def test_units_without_rows_have_parameters_of_their_own() -> None:
    x = torch.tensor([-2.0, -1.0, 0.5, 1.0, 3.0])

    def model() -> None:
        in_units(lambda x: dist.Normal(0.0, 1.0))(x)

    result = fit(model, args=(), epochs=2000, progress=False, optimizer=partial(Adam, lr=5e-3))
    _, guide = result.program
    assert str(guide).splitlines()[0] == "prod_units q(z)"
    exact = dist.Normal(0.0, 2**0.5).log_prob(x).sum().item()
    bounds = log_evidence(result.program, args=(), num_particles=100, seed=0).bounds
    assert exact - bounds[1].sum().item() < 0.01


def sums_of_rows(x: Tensor) -> None:
    """What is observed does not follow the order of the rows."""
    with pyro.plate("units", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x.cumsum(0))


def test_rows_get_no_parameters_of_their_own() -> None:
    with refused("units", remedy="units first"):
        fit(sums_of_rows, torch.randn(5), epochs=1, progress=False)
    assert str(AutoAmortized(sums_of_rows, torch.randn(5))).splitlines()[0] == "prod_units q(z)"


def left_plate(x: Tensor) -> None:
    """Cells in a plate to the left of the units, as Pyro places nested plates without dim=."""
    with pyro.plate("units", len(x), dim=-1), pyro.plate("cells", 3, dim=-2):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        w = pyro.sample("w", dist.Normal(z, 0.3))
        pyro.sample("x", dist.Normal(w, 0.3), obs=x.T)


def test_units_are_not_mixed_wherever_their_plate_is() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 3)
    guide = AutoAmortized(left_plate, x, network=SMALL)
    seen = (
        torch.eye(6).unsqueeze(-2).expand(6, 3, 6)
    )  # z of unit i is 1, of the others 0, for each i
    with torch.no_grad():
        local = guide.local
        read = local._in_line("z", local.factors[local.keys["z"]].standardised(seen))
    assert read.shape == (6, 6, 3)
    ones = (read == read.max()).all(-1)
    assert torch.equal(ones, torch.eye(6, dtype=torch.bool))
    trace = poutine.trace(guide).get_trace(x)
    assert trace.nodes["w"]["value"].shape == (3, 6)
    locs = trace.nodes["w"]["fn"].loc
    assert locs.unique().numel() == 18  # each cell has its own


@pytest.mark.slow
def test_the_evidence_with_cells_to_the_left_of_the_units() -> None:
    torch.manual_seed(0)
    x = 1.09**0.5 * torch.randn(400, 3)
    x = x + 0.3 * torch.randn(400, 3)
    program = trained(left_plate, x, 1000, batch_size=100)
    exact = dist.Normal(0.0, 1.18**0.5).log_prob(x).sum(-1)
    evidence = log_evidence(program, x, num_particles=300, seed=0)
    assert agrees(evidence, exact.double())


def square(x: Tensor) -> None:
    with pyro.plate("units", x.shape[1], dim=-1):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("cells", x.shape[0], dim=-2):
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)


def columns(x: Tensor) -> None:
    """Means of columns are shared by the rows, which are the units."""
    plate = pyro.plate("columns", x.shape[1], dim=-1)
    with plate:
        mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    with pyro.plate("rows", len(x), dim=-2), plate:
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def test_units_are_told_from_cells_of_the_same_number() -> None:
    assert words(square, torch.randn(5, 5)) == "prod_units q(z)"
    assert words(columns, torch.randn(4, 4)) == "prod_columns q(mean)"


def twice_observed(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        y = pyro.sample("y", dist.Normal(0.0, 1.0), obs=x)
        z = pyro.sample("z", dist.Normal(y, 1.0))
        pyro.sample("w", dist.Normal(z, 1.0), obs=x)


def awkward_names(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        a = pyro.sample("type", dist.Normal(0.0, 1.0))
        b = pyro.sample("a.b", dist.LogNormal(a, 1.0))
        pyro.sample("a__b", dist.Normal(b, 1.0), obs=x)


def angle_for_all(x: Tensor) -> None:
    angle = pyro.sample("angle", dist.VonMises(0.0, 1.0))
    with pyro.plate("units", len(x)):
        pyro.sample("x", dist.Normal(angle, 1.0), obs=x)


def with_a_factor(x: Tensor) -> None:
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    pyro.factor("penalty", -scale)
    with pyro.plate("units", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, scale))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def many_categories(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        shares = pyro.sample("shares", dist.Dirichlet(torch.ones(10)))
        pyro.sample("x", dist.Normal(shares[..., 0], 1.0), obs=x)


def topics(x: Tensor) -> None:
    with pyro.plate("topics", 2):
        level = pyro.sample("level", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("texts", len(x)):
        share = pyro.sample("share", dist.Beta(1.0, 1.0)).unsqueeze(-1)
        mixed = share * level[..., :1, :] + (1 - share) * level[..., 1:, :]
        pyro.sample("x", dist.Normal(mixed[..., 0], 1.0), obs=x)


@pytest.mark.parametrize(
    ("model", "factors"),
    [
        (twice_observed, "prod_units q(z | rows)"),
        (awkward_names, "prod_units q(type | rows) q(a.b | rows, type)"),
        (angle_for_all, "q(angle)"),
        (with_a_factor, "q(scale) prod_units q(z | rows, scale)"),
        (topics, "q(level) prod_texts q(share | rows, level)"),
        (many_categories, "prod_units q(shares | rows)"),
    ],
)
def test_models_of_unusual_form_have_an_evidence(model, factors) -> None:
    torch.manual_seed(0)
    x = torch.randn(20)
    guide = AutoAmortized(model, x, network=SMALL)
    assert str(guide).splitlines()[0] == factors
    evidence = log_evidence((model, guide), args=(x,), num_particles=50, seed=0)
    assert evidence.log_evidence.isfinite().all()


def two_plates(x: Tensor) -> None:
    for name in ("a", "b"):
        with pyro.plate(name, len(x)):
            z = pyro.sample(f"z_{name}", dist.Normal(0.0, 1.0))
            pyro.sample(f"x_{name}", dist.Normal(z, 1.0), obs=x)


def symmetric(x: Tensor) -> None:
    width = pyro.sample("width", dist.LogNormal(0.0, 0.5))
    with pyro.plate("units", len(x)):
        z = pyro.sample("z", dist.Uniform(-width, width))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def observed_in_part(x: Tensor) -> None:
    with pyro.plate("units", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x, obs_mask=x > 1)


@pytest.mark.parametrize(
    ("model", "subject", "remedy"),
    [
        (two_plates, "b", "one plate for both"),
        (symmetric, "z", "(0, 1)"),
        (in_units(lambda x: dist.Uniform(0.0, x.max())), "z", "constants"),
        (observed_in_part, "x_unobserved", "poutine.mask"),
    ],
)
def test_what_would_give_wrong_figures_is_refused(model, subject, remedy) -> None:
    with refused(subject, remedy=remedy):
        AutoAmortized(model, torch.arange(5.0))


def test_values_of_another_shape() -> None:
    with refused("x", expected="shape (5,)", remedy="to_event"):
        AutoAmortized(in_units(lambda x: dist.Normal(0.0, 1.0)), torch.randn(5, 3))


def test_rows_of_unlike_lengths() -> None:
    def model(x: Tensor, w: Tensor) -> None:
        in_units(lambda x: dist.Normal(0.0, 1.0))(x)

    guide = AutoAmortized(model, torch.randn(5), torch.randn(5), network=SMALL)
    with refused("units", expected="as many rows"):
        guide(torch.randn(7), torch.randn(5))


@pytest.mark.slow
def test_a_model_of_shared_latents_alone() -> None:
    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("units", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    torch.manual_seed(0)
    x = torch.randn(50)
    program = trained(model, x, 800)
    draws = program[1].shared.joint.distribution().sample((100_000,))
    assert abs(draws.mean() - x.sum() / 51) < 0.2 / 51**0.5
    assert draws.std().item() == pytest.approx(1 / math.sqrt(51), rel=0.1)
    assert str(program[1]).splitlines()[0] == "q(mean)"


class Story:
    """A model without a guide, as an object."""

    model = staticmethod(normal_pairs)


@pytest.mark.parametrize("bare", [normal_pairs, Story()])
def test_a_bare_model_is_fitted_by_a_guide_of_its_own(bare: Any) -> None:
    x = PAIRS.sample((300,))
    options: dict[str, Any] = {"batch_size": 100, "progress": False, "compile": "off"}
    results = [fit(bare, x, epochs=epochs, **options) for epochs in (2, 2, 30)]
    assert results[0].metrics[1]["train_elbo"] == results[1].metrics[1]["train_elbo"]
    evidence = log_evidence(results[2].program, PAIRS.sample((50,)), num_particles=10, seed=0)
    assert evidence.num_units == 50
    assert "q(z | rows)" in str(results[2].program[1])


def test_a_run_of_a_bare_model_resumes_exactly(tmp_path) -> None:
    x = PAIRS.sample((300,))
    options: dict[str, Any] = {"batch_size": 100, "progress": False, "compile": "off", "seed": 3}
    whole = fit(normal_pairs, x, epochs=4, **options)
    stopped = RunControl(stop_after=6)  # of 12 steps
    fit(normal_pairs, x, epochs=4, out=tmp_path / "run", control=stopped, **options)
    resumed = fit(normal_pairs, x, epochs=4, out=tmp_path / "run", resume=True, **options)
    for one, other in zip(
        whole.program[1].parameters(), resumed.program[1].parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_a_call_with_arguments() -> None:
    x = 1 + torch.randn(40, 2)
    result = fit(groups, args=(x,), epochs=20, progress=False, compile="off")
    assert log_evidence(result.program, args=(x,), num_particles=10, seed=0).num_units == 1


def test_held_out_rows_do_not_choose_the_epoch_of_a_posterior() -> None:
    """The guide of shared latents is to fit the training rows; of new rows alone it is a poor proposal."""
    torch.manual_seed(0)
    x = 1 + torch.randn(40, 2)
    options: dict[str, Any] = {"validation": 5 + x[:5], "progress": False, "compile": "off"}
    assert fit(groups, x, epochs=10, **options).best_epoch is None
    assert fit(normal_pairs, x, epochs=3, batch_size=20, **options).best_epoch is not None


def only_beyond_one(x: Tensor) -> None:
    """The data are impossible at the prior's mean, 0."""
    low = pyro.sample("low", dist.Normal(0.0, 3.0))
    possible = (low > 1) & (low < 4)
    with pyro.plate("units", len(x)):
        pyro.sample("x", dist.Normal(low, 1.0).mask(possible), obs=x)
    pyro.factor("range", torch.where(possible, 0.0, -torch.inf))


def test_a_guide_starts_where_the_data_are_possible() -> None:
    guide = AutoAmortized(only_beyond_one, 2.5 + torch.randn(30))
    assert 1 < guide.shared.joint.distribution().sample((1000,)).mean().item() < 4
