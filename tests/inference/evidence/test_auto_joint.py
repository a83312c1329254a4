"""The choice of a method for a joint evidence."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoMultivariateNormal, AutoNormal
from refused import refused
from torch import Tensor

from pyro_vae import log_evidence
from pyro_vae.inference import SMC, Annealed, Auto, Bidirectional, Importance
from pyro_vae.inference.annealing.from_guide import FromGuide
from pyro_vae.inference.evidence import trial
from pyro_vae.inference.evidence.method import Workload
from pyro_vae.inference.evidence.tiles import open_tiles
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import as_program
from pyro_vae.program.examination import examine
from pyro_vae.program.prior_guide import with_prior_as_guide


def model(x: Tensor) -> None:
    mean = pyro.sample("mean", dist.Normal(0.0, 5.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def guide(x: Tensor) -> None:
    pyro.sample("mean", dist.Normal(x.mean(), 0.4))


def narrow(x: Tensor) -> None:
    pyro.sample("mean", dist.Normal(x.mean() + 1, 0.05))


X = torch.tensor([2.0, 3.0, 4.0, 2.5, 3.5, 3.0])
EXACT = dist.MultivariateNormal(torch.zeros(6).double(), torch.eye(6) + 25.0).log_prob(X.double())


def is_right(evidence: Any, least: float = 1e-4) -> bool:
    return bool((evidence.log_evidence - EXACT).abs() < 4 * evidence.standard_error + least)


def test_a_good_guide_is_weighed_by_importance() -> None:
    evidence = log_evidence((model, guide), args=(X,), method=Auto(), seed=0)
    assert is_right(evidence)
    assert "chosen after a trial of each: importance" in evidence.notes[-1]
    assert not evidence.is_unbiased
    again = log_evidence((model, guide), args=(X,), method=Importance(), num_particles=1000, seed=0)
    assert torch.equal(evidence.log_evidence, again.log_evidence)


@pytest.mark.parametrize("program", [(model, narrow), model], ids=["narrow guide", "no guide"])
def test_without_a_good_guide_it_is_smc(program: Any, monkeypatch) -> None:
    monkeypatch.setattr(trial, "TARGET", 0.02)
    evidence = log_evidence(program, args=(X,), method=Auto(), seed=0)
    assert is_right(evidence)
    assert "smc from the prior" in evidence.notes[-1]
    count = int(evidence.indicative[trial.COUNT][0])
    method = SMC(start="prior")
    again = log_evidence(program, args=(X,), method=method, num_particles=count, seed=0)
    assert f"num_particles={count:,}" in evidence.notes[-1]
    assert torch.equal(evidence.log_evidence, again.log_evidence)


def test_the_clock_sets_counts_alone() -> None:
    candidate = trial.Candidate("smc", SMC(), 1000, "", grows=True)
    smc = trial.Tried(candidate, 1000, _with_error(0.2), seconds=2.0)
    more = trial.more_particles
    assert more(smc, None, float("inf"), 10) == 20_800  # 1.3 (0.2 / 0.05)^2 times as many
    assert more(smc, None, 10.0, 10) == 4000  # 0.8 x 10 s at 500 a second
    assert more(smc, None, 0.0, 10) == 0
    hopeless = trial.Tried(candidate, 1000, _with_error(float("nan")), seconds=0.001)
    assert more(hopeless, None, float("inf"), 10) == trial.MOST


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1.5, (1.0, 0.001)), (1.99, (1.5, 0.0005)), (1.0, (0.0, 0.002)), (0.5, (0.0, 0.002))],
    ids=["line", "hardly slower", "in proportion", "no time but for particles"],
)
def test_two_runs_tell_what_the_pilot_takes(seconds: float, expected: tuple[float, float]) -> None:
    candidate, found = trial.Candidate("smc", SMC(), 500, "", grows=True), _with_error(0.2)
    before = trial.Tried(candidate, 500, found, seconds)
    tried = trial.Tried(candidate, 1000, found, seconds=2.0)
    assert trial.cost(tried, before) == pytest.approx(expected)
    fixed, each = expected
    more = trial.more_particles(tried, before, 10.0, 10)
    assert fixed + more * each == pytest.approx(8.0, abs=10 * each)


def test_the_time_stops_what_takes_longer() -> None:
    """A clock that moves by a second at each look."""
    now = iter(range(10_000))
    program = with_prior_as_guide(model)
    with open_tiles(program, args=(X,), seed=0) as tiles, torch.no_grad():
        auto, work = Auto(seconds=3.0), Workload(20, (1,))
        estimator = trial.joint_estimator(auto, tiles[0], work, lambda: float(next(now)))
        (chosen,) = estimator(tiles[0], lambda share: None)
    assert chosen.was_stopped
    assert chosen.tried.candidate.name == "importance"
    assert next(now) < 20
    (note,) = trial.notes_of_choice(auto, chosen.unit_estimates(), tiles[0])[-1:]
    assert "did not end within 3 s" in note
    assert "light-tailed" not in note


@dataclass(frozen=True)
class Stub(SMC):
    """SMC whose runs have given errors, in turn."""

    errors: tuple[float, ...] = ()
    counts: list[int] = field(default_factory=list)

    def estimator(self, example: BoundProgram, work: Workload) -> Any:
        def estimate(bound_program: BoundProgram, advance: Any) -> Any:
            found = _with_error(self.errors[len(self.counts)])
            self.counts.append(work.num_particles)
            yield SimpleNamespace(unit_estimates=lambda: found)

        return estimate


@pytest.mark.parametrize(
    ("errors", "chosen_error"),
    [((0.2, 0.1, 0.04), 0.04), ((0.06, 0.3, 0.2, 0.3), 0.3), ((0.03,), 0.03)],
    ids=["until it is small", "the last, not the luckiest", "at once"],
)
def test_smc_runs_again_with_more_particles(errors, chosen_error, monkeypatch) -> None:
    stub = Stub(errors=errors)
    only = trial.Candidate("smc from the prior", stub, 100, "", grows=True)
    monkeypatch.setattr(trial, "candidates", lambda *_: iter([only]))
    program = with_prior_as_guide(model)
    with open_tiles(program, args=(X,), seed=0) as tiles:
        estimator = trial.joint_estimator(Auto(), tiles[0], Workload(20, (1,)))
        (chosen,) = estimator(tiles[0], lambda share: None)
    assert float(chosen.unit_estimates().standard_error) == pytest.approx(chosen_error)
    assert len(stub.counts) == len(errors)
    assert stub.counts == sorted(stub.counts)
    assert chosen.count == stub.counts[-1]


def _with_error(error: float) -> Any:
    evidence = log_evidence((model, guide), args=(X,), num_particles=30, seed=0)
    values = {**evidence.by_field(), "standard_error": torch.tensor([error])}
    return trial.UnitEstimates(**values)


def test_a_bridge_where_draws_are_given() -> None:
    precision = 1 / 25 + 6
    draws = {"mean": dist.Normal(float(X.sum()) / precision, precision**-0.5).sample((1000,))}
    evidence = log_evidence(model, args=(X,), method=Auto(draws=draws), seed=0)
    assert is_right(evidence)
    assert "bridge" in evidence.notes[-1]


def test_bad_options_are_refused() -> None:
    with refused("seconds"):
        Auto(seconds=0)
    with refused("draws"):
        Auto(draws=3)


# --- AutoGuides, whose auxiliary draws follow from the latents ------------------------------------------


def positive(x: Tensor) -> None:
    rate = pyro.sample("rate", dist.Gamma(2.0, 1.0).expand([2]).to_event(1))
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(mean, rate.sum(-1).rsqrt()), obs=x)


@pytest.mark.parametrize("family", [AutoNormal, AutoMultivariateNormal])
def test_autoguides_take_a_share_of_the_prior(family: Any) -> None:
    pyro.clear_param_store()
    auto_guide, x = family(positive), torch.tensor([0.3, -0.5, 0.8])
    auto_guide(x)
    method = Importance(0.5)
    found = log_evidence(
        (positive, auto_guide), args=(x,), method=method, num_particles=3000, seed=0
    )
    other = log_evidence(positive, args=(x,), method=SMC(start="prior"), num_particles=2000, seed=1)
    error = (found.standard_error.square() + other.standard_error.square()).sqrt()
    assert (found.log_evidence - other.log_evidence).abs() < 4 * error
    assert float(found.standard_error) < 0.1


@pytest.mark.parametrize("family", [AutoNormal, AutoMultivariateNormal])
def test_autoguides_take_simulated_data(family: Any) -> None:
    pyro.clear_param_store()
    auto_guide = family(positive)
    auto_guide(X)
    method = Bidirectional(Annealed(20, num_leapfrog=3))
    found = log_evidence((positive, auto_guide), args=(X,), method=method, num_particles=8, seed=0)
    low, high = found.interval()
    assert low < high
    assert found.mean_gap > -2  # below 0 by chance alone
    program = as_program((positive, auto_guide))
    with torch.no_grad():
        examined = examine(program, X)
        path = FromGuide(BoundProgram(program, examined.structure, False, (X,)))
        u = path.coordinates_of(examined.model)
        back = path.latents(u, 1)
    for name in ("rate", "mean"):
        value = examined.model.nodes[name]["value"]
        torch.testing.assert_close(back[name].reshape(value.shape), value, rtol=1e-4, atol=1e-4)


# --- traps, measured --------------------------------------------------------------------------------------


def test_annealing_that_ends_in_one_chain_has_no_error() -> None:
    """Chains that hardly move from far away: the weights differ by hundreds of nats."""

    def far(x: Tensor) -> None:
        pyro.sample("mean", dist.Normal(300.0, 1.0))

    method = Annealed(2, num_leapfrog=1)
    evidence = log_evidence((model, far), args=(X,), method=method, num_particles=16, seed=0)
    assert evidence.ess < 2
    assert evidence.standard_error.isnan()


def test_an_upper_figure_below_the_lower_one_is_remarked() -> None:
    values = _with_error(0.1).by_field()
    figure = values["log_evidence"]
    values |= {"upper": figure - 3, "upper_error": torch.tensor([0.1])}
    from pyro_vae.inference.evidence.result import Evidence

    evidence = Evidence(**values, num_particles=16, unit=None, method="sandwich", is_unbiased=True)
    assert "so it bounds nothing" in evidence.summary()
