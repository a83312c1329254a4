"""Annealed importance sampling against closed forms, within its own standard error."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles import conjugate
from pyro.infer.autoguide import AutoDelta, AutoNormal
from refused import refused
from stories import Conjugate, PyroStyleVAE
from torch import Tensor, nn

from pyro_vae import log_evidence
from pyro_vae.inference.annealing.from_guide import FromGuide
from pyro_vae.inference.annealing.hmc import Sampler, StepSizes
from pyro_vae.inference.annealing.laplace import find_mode
from pyro_vae.inference.annealing.paths import FromPrior
from pyro_vae.inference.annealing.schedules import linear, sigmoid
from pyro_vae.inference.evidence import ais, annealed_chains, tiles
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.annealed_chains import anneal
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.models import FactorAnalysis
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import as_program
from pyro_vae.program.examination import examine
from pyro_vae.program.generators import rng_state

RUN = ("num_particles", "unit", "seed", "max_memory", "device", "progress")


def annealed_evidence(program: Any, data: Any, **options: Any) -> Evidence:
    run = {name: options.pop(name) for name in RUN if name in options}
    method = Annealed(**{"num_leapfrog": 4, **options})
    return log_evidence(program, data, method=method, **run)


def agrees(evidence: Evidence, exact: Tensor) -> bool:
    """Within 4 of its own standard errors, unit by unit and on the whole."""
    exact = exact.detach().double()
    off = (evidence.log_evidence - exact).abs() / evidence.standard_error.clamp(min=1e-5)
    mean_off = abs(evidence.mean - exact.mean()) / max(evidence.mean_standard_error, 1e-5)
    return bool((off < 4).all()) and bool(mean_off < 4)


@pytest.mark.parametrize("start", ["guide", "prior"])
def test_annealing_closes_what_importance_sampling_leaves(start: str) -> None:
    model, x = bad_guide(), torch.randn(40, 6) @ torch.randn(6, 6)
    exact = model.log_evidence(x).detach().double()
    options: dict[str, Any] = {"num_particles": 64, "start": start, "seed": 0}
    gaps, bad, spreads = [], [], []
    for num_temperatures in (1, 10, 60):
        evidence = annealed_evidence(model, x, num_temperatures=num_temperatures, **options)
        gaps.append((exact - evidence.log_evidence).mean().item())
        bad.append(evidence.bad_units)
        spreads.append((exact - evidence.log_evidence).std().item())
    assert bad[0] > 1.5 * bad[1] > 1.5 * bad[2]
    assert spreads[0] > 2 * spreads[1] > 3 * spreads[2]
    assert gaps[0] > abs(gaps[2])
    assert abs(gaps[2]) < 4 * spreads[2] / 40**0.5
    assert "60 temperatures" in evidence.method
    assert evidence.certificate() < exact.mean()


def bad_guide() -> FactorAnalysis:
    """Not trained at all, and neither guide nor prior is near the posterior."""
    torch.manual_seed(0)
    model = FactorAnalysis((6,), 3)
    torch.nn.init.eye_(model.loadings).data.mul_(2)
    return model


def test_one_temperature_is_importance_sampling() -> None:
    x = torch.randn(20)
    one = annealed_evidence(Conjugate, x, num_particles=4000, num_temperatures=1, seed=0)
    other = log_evidence(Conjugate, x, num_particles=4000, seed=1)
    error = (one.standard_error.square() + other.standard_error.square()).sqrt()
    assert ((one.log_evidence - other.log_evidence).abs() < 4 * error).all()
    assert "importance sampling" in one.method


def many(x: float, units: int = 2000) -> Tensor:
    """The same datum over and over: each unit is an independent repeat of one estimate."""
    return torch.full((units,), x)


@pytest.mark.parametrize("start", ["guide", "prior"])
@pytest.mark.parametrize("num_temperatures", [2, 6])
def test_the_mean_weight_is_unbiased(start: str, num_temperatures: int) -> None:
    x = many(1.7)
    evidence = annealed_evidence(
        Conjugate, x, num_particles=2, num_temperatures=num_temperatures, start=start, seed=2
    )
    ratio = (evidence.log_evidence - Conjugate.log_evidence(x)).exp()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / len(x) ** 0.5
    log_ratio = evidence.log_evidence - Conjugate.log_evidence(x)  # and its log a lower bound
    assert log_ratio.mean() < 3 * log_ratio.std() / len(x) ** 0.5


@pytest.mark.parametrize("size", [0.05, 0.7, 2.5])
def test_the_mean_weight_is_unbiased_whatever_the_step_size_and_steps_stay(size: float) -> None:
    x, program = many(-1.5), as_program(Conjugate)
    with torch.no_grad():
        path = FromGuide(BoundProgram(program, examine(program, x).structure, True, (x,)))
        sizes = torch.full((1, len(x), 1), size) * (0.5 + torch.rand(len(x), 1))
        step_sizes = StepSizes((1.0,), sizes.clone())
        chains = anneal(Sampler(path, 4, 100), path.draw(4), linear(5).tolist(), step_sizes)
    ratio = (chains.log_weights - Conjugate.log_evidence(x)).exp().mean(0)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / len(x) ** 0.5
    assert torch.equal(step_sizes.sizes, sizes)


def test_intervals_cover() -> None:
    evidence = annealed_evidence(
        Conjugate, many(2.0, 2000), num_particles=32, num_temperatures=8, start="prior", seed=0
    )
    off = (evidence.log_evidence - Conjugate.log_evidence(torch.tensor(2.0))).abs()
    covered = (off < 1.96 * evidence.standard_error).double().mean()
    assert 0.90 < covered < 0.99


def test_a_transition_leaves_the_posterior_as_it_is() -> None:
    """Exact draws of Normal(x / 2, 1 / 2), moved by many transitions, are still that."""
    x, program = many(1.0, 4000), as_program(Conjugate)
    with torch.no_grad():
        path = FromPrior(BoundProgram(program, examine(program, x).structure, True, (x,)))
        sampler = Sampler(path, 3, 10)
        state = sampler.state(dist.Normal(0.5, 0.5**0.5).sample((1, len(x), 1)))
        for _ in range(20):
            state, probability = sampler.transition(state, 1.0, torch.full((len(x), 1), 1.1))
    z = state.u.flatten()
    assert 0.5 < probability.mean() < 0.99
    assert abs(z.mean() - 0.5) < 4 * (0.5 / len(z)) ** 0.5
    assert abs(z.var() - 0.5) < 4 * 0.5 * (2 / len(z)) ** 0.5


def test_neither_memory_nor_the_number_of_chains_at_a_time_changes_a_figure(monkeypatch) -> None:
    x = torch.randn(30)
    options: dict[str, Any] = {"num_particles": 20, "num_temperatures": 3, "seed": 3}
    one = annealed_evidence(Conjugate, x, **options)
    other = annealed_evidence(Conjugate, x, max_memory=1, **options)
    torch.testing.assert_close(one.log_evidence, other.log_evidence)
    monkeypatch.setitem(annealed_chains.CHAINS_AT_ONCE, "cpu", 50)
    monkeypatch.setitem(tiles.UNITS_PER_TILE, "cpu", (16, 16))
    cut = annealed_evidence(Conjugate, x, **options)
    assert cut.num_particles == 20
    off = abs(cut.mean - Conjugate.log_evidence(x).mean())
    assert off < 4 * cut.mean_standard_error


def test_exactly_k_weights_whatever_the_tiles(monkeypatch) -> None:
    counts: list[int] = []
    monkeypatch.setitem(annealed_chains.CHAINS_AT_ONCE, "cpu", 50)
    monkeypatch.setitem(tiles.UNITS_PER_TILE, "cpu", (16, 16))
    monkeypatch.setattr(
        ais,
        "anneal",
        lambda s, u, *rest: (counts.append(u.shape[0] * u.shape[1]), anneal(s, u, *rest))[1],
    )
    annealed_evidence(Conjugate, torch.randn(30), num_particles=7, num_temperatures=2)
    assert sum(counts) == 7 * 30
    assert max(counts) <= 50


def test_nothing_is_left_behind_and_seeds_repeat() -> None:
    vae = PyroStyleVAE()
    vae.encoder = nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 4))
    x, noise = torch.randn(8, 6), rng_state()["torch"]
    state = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    one, two = (annealed_evidence(vae, x, num_temperatures=5, seed=3) for _ in range(2))
    other = annealed_evidence(vae, x, num_temperatures=5, seed=4)
    assert torch.equal(one.log_evidence, two.log_evidence)
    assert not torch.equal(one.log_evidence, other.log_evidence)
    assert torch.equal(noise, rng_state()["torch"])
    assert vae.training
    assert all(p.grad is None and p.requires_grad for p in vae.parameters())
    assert all(torch.equal(state[n], t) for n, t in vae.state_dict().items())
    assert len(pyro.get_param_store()) == 0


def test_without_latents_the_figure_is_exact() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(which, 1.0), obs=x)

    x = torch.randn(5)
    logs = torch.tensor([[0.7], [0.3]]).log() + dist.Normal(
        torch.tensor([[0.0], [1.0]]), 1.0
    ).log_prob(x)
    evidence = annealed_evidence((model, lambda x: None), x, num_particles=3, num_temperatures=4)
    torch.testing.assert_close(evidence.log_evidence, logs.logsumexp(0).double())
    torch.testing.assert_close(evidence.ess, torch.full((5,), 3.0, dtype=torch.float64))


def test_an_autoguide_moves_in_its_own_variable() -> None:
    (model, _), (x,) = conjugate.gamma_poisson.program, conjugate.gamma_poisson.args
    x, exact = x[:6], conjugate.gamma_poisson.exact[:6]
    evidence = annealed_evidence(
        (model, AutoNormal(model, init_scale=0.5)),
        x,
        num_particles=200,
        num_temperatures=30,
        seed=0,
    )
    assert agrees(evidence, exact)


def test_a_nan_is_neither_averaged_away_nor_hidden() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            z = torch.where((x > 100) & (z > 0), z * math.nan, z)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    x = torch.cat([torch.randn(20), torch.tensor([101.0])])
    evidence = annealed_evidence((model, Conjugate.guide), x, num_temperatures=5, seed=0)
    assert evidence.log_evidence.isnan().tolist() == [False] * 20 + [True]
    assert "1 of 21 units have NaN weights (the first is unit 20)" in evidence.summary()


def of(function: Callable[[Tensor], Any], site: str = "z") -> Callable[[Tensor], None]:
    """A guide of one site."""

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample(site, function(torch.zeros(len(x))))

    return guide


def uniform_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Uniform(torch.zeros(len(x)), 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def discrete_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Poisson(torch.ones(len(x))))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


def noisy_model(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1 + torch.rand(())), obs=x)


def masked_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)), pyro.poutine.mask(mask=x > 0):
        pyro.sample("z", dist.Normal(x / 2, 0.8))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_particles": 0}, "at least 1"),
        ({"num_temperatures": 0}, "at least 1"),
        ({"num_leapfrog": -1}, "at least 1"),
        ({"max_memory": 0}, "at least 1"),
        ({"start": "giude"}, "'guide', 'prior'"),
        ({"schedule": 3}, "a function"),
        ({"schedule": lambda t: linear(t)[1:]}, "101 that rise from 0 to 1"),
        ({"schedule": lambda t: linear(t) / 2}, "101 that rise from 0 to 1"),
        ({"schedule": lambda t: linear(t).flip(0)}, "101 that rise from 0 to 1"),
    ],
)
def test_wrong_options(options, expected) -> None:
    (name,) = options
    with refused(name, expected=expected):
        annealed_evidence(Conjugate, torch.rand(6) - 0.5, **options)


@pytest.mark.parametrize(
    ("program", "options", "subject"),
    [
        (Conjugate, {"unit": "dta"}, "dta"),
        ((discrete_model, of(lambda zero: dist.Poisson(zero + 1))), {}, "z"),
        ((uniform_model, of(lambda zero: dist.Uniform(zero, 0.5))), {}, "z"),
        ((uniform_model, of(lambda zero: dist.Uniform(zero, 2.0))), {}, "z"),
        ((noisy_model, Conjugate.guide), {}, "program"),
        ((Conjugate.model, masked_guide), {}, "z"),
    ],
)
def test_wrong_input(program, options, subject) -> None:
    x = torch.linspace(-0.4, 0.5, 6)  # of both signs, which the mask tells apart
    with refused(subject):
        annealed_evidence(program, x, **options)


def test_a_guide_that_is_a_point_is_no_start() -> None:
    with refused("z", remedy='start="prior"'):
        annealed_evidence((uniform_model, AutoDelta(uniform_model)), torch.rand(6) - 0.5)


def test_a_support_that_depends_on_what_is_summed_out() -> None:
    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Bernoulli(0.3), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Uniform(0.0, 1 + which))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    guide = of(lambda zero: dist.Uniform(zero, 1.0))
    with refused("z"):
        annealed_evidence((model, guide), torch.randn(4), start="prior")


@pytest.mark.parametrize("max_memory", [None, 20_000])
@pytest.mark.parametrize("start", ["guide", "prior"])
def test_data_of_more_digits_than_the_latents(start, max_memory) -> None:
    x = torch.randn(8, dtype=torch.float64)
    method = Annealed(20, start, num_leapfrog=4)
    evidence = log_evidence(
        (Conjugate.model, Conjugate.guide),
        x,
        method=method,
        max_memory=max_memory,
        num_particles=100,
        seed=0,
    )
    off = evidence.log_evidence - Conjugate.log_evidence(x)
    assert (off.abs() < 4 * evidence.standard_error).all()


def test_schedules() -> None:
    for schedule in (linear, sigmoid):
        for num_temperatures in (1, 2, 7):
            betas = schedule(num_temperatures)
            assert betas[0] == 0
            assert betas[-1] == 1
            assert len(betas) == num_temperatures + 1
            assert (betas.diff() > 0).all()
    assert sigmoid(100).diff()[0] < 0.3 * linear(100).diff()[0]


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    model, x = bad_guide(), torch.randn(40, 6)
    evidence = annealed_evidence(model, x, num_temperatures=50, seed=0, device="cuda")
    assert (
        abs(evidence.mean - model.cpu().log_evidence(x).mean()) < 4 * evidence.mean_standard_error
    )


def test_the_search_for_a_mode_ends_where_its_line_search_overflows(monkeypatch) -> None:
    """The best place so far is the mode; another error of the program is not swallowed."""
    words = "value cannot be converted to type float without overflow"

    def step(self: Any, loss: Callable[[], Tensor]) -> None:
        loss()
        raise RuntimeError(words)

    monkeypatch.setattr(torch.optim.LBFGS, "step", step)
    path: Any = SimpleNamespace(log_densities=lambda u: (u.sum(-1), -u.square().sum(-1)))
    start = torch.full((1, 1, 2), 2.0)
    assert torch.equal(find_mode(path, start), start)
    words = "of the program"
    with pytest.raises(RuntimeError, match=words):
        find_mode(path, start)
