"""Other proposals give the same evidence, within its error, and better weights where they should."""

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoNormal
from refused import refused
from stories import Conjugate
from torch import Tensor

from pyro_vae import evaluate, log_evidence
from pyro_vae.guides import AutoAmortized
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.proposals import refined, wider
from pyro_vae.models import FactorAnalysis
from pyro_vae.program.examination import examine
from pyro_vae.program.vectorization import pair_together

X = torch.randn(20, generator=torch.Generator().manual_seed(1)) * 1.5


def narrow_guide(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(x / 2, 0.2))


def test_a_guide_that_is_too_narrow_is_flagged_and_widening_mends_it() -> None:
    program = (Conjugate.model, narrow_guide)
    exact = Conjugate.log_evidence(X).double()
    narrow = log_evidence(program, X, num_particles=5000, seed=0)
    # the tail's index is 1 - 0.2^2 / 0.5 = 0.92; one unit's estimate of it is good to about 0.13
    assert narrow.pareto_k.mean() > 0.7
    assert narrow.bad_units > 10
    assert f"Pareto k above {narrow.bad_k:.2g}" in narrow.summary()
    wide = log_evidence(wider(program, 4.0), X, num_particles=5000, seed=0)
    assert wide.bad_units == 0
    assert ((wide.log_evidence - exact).abs() < 4 * wide.standard_error).all()
    assert narrow.certificate() <= exact.mean()  # it holds all the same


@pytest.mark.slow
def test_refinement_closes_the_amortisation_gap() -> None:
    torch.manual_seed(0)
    model = FactorAnalysis((6,), 2)
    model.loadings.data.mul_(3)
    x = torch.randn(30, 6)
    better = refined(model, steps=300, learning_rate=0.1)
    with torch.no_grad():
        assert pair_together(examine(better, x), x)
    before, after = (evaluate(p, x, num_particles=200, seed=0).elbo.mean() for p in (model, better))
    exact = model.log_evidence(x).detach().double()
    assert exact.mean() - after < 0.05 < exact.mean() - before
    evidence = log_evidence(better, x, num_particles=2000, seed=0)
    assert ((evidence.log_evidence - exact).abs() < 4 * evidence.standard_error).all()
    assert all(parameter.grad is None for parameter in model.parameters())


M = torch.rand(20, 3, generator=torch.Generator().manual_seed(2)) < 0.6
PARTS = X[:, None] * torch.tensor([1.0, -0.5, 0.3])


def within(fn: dist.Normal, mask: Tensor) -> dist.TorchDistribution:
    return fn.mask(mask).to_event(1)


def without(fn: dist.Normal, mask: Tensor) -> dist.TorchDistribution:
    return fn.to_event(1).mask(mask[:, 0])


@pytest.mark.parametrize("masked", [within, without])
@pytest.mark.parametrize("proposal", [lambda p: wider(p, 1.6), lambda p: refined(p, steps=3)])
def test_a_mask_stays_around_what_is_proposed(masked: Any, proposal: Any) -> None:
    def model(x: Tensor, mask: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", masked(dist.Normal(torch.zeros(len(x), 3), 1.0), mask))
            pyro.sample("x", masked(dist.Normal(z, 1.0), mask), obs=x)

    def guide(x: Tensor, mask: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", masked(dist.Normal(x / 2, 0.8), mask))

    counts = M if masked is within else M[:, :1]
    exact = (dist.Normal(0.0, 2**0.5).log_prob(PARTS) * counts).sum(-1).double()
    found = log_evidence(proposal((model, guide)), (PARTS, M), num_particles=5000, seed=0)
    off = (found.log_evidence - exact).abs()
    assert (off < 4.5 * found.standard_error + 1e-6).all()


@pytest.mark.parametrize("parameter", ["logits", "probs"])
def test_of_logits_and_probs_one_is_refined(parameter: str) -> None:
    weights, places = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([-2.0, 0.0, 2.0])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(weights))
            pyro.sample("x", dist.Normal(places[k], 1.0), obs=x)

    def guide(x: Tensor) -> None:
        start = torch.full((len(x), 3), 1 / 3)
        start = start.log() if parameter == "logits" else start
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Categorical(**{parameter: start}))

    exact = (weights.log() + dist.Normal(places, 1.0).log_prob(X[:, None])).logsumexp(-1).double()
    found = log_evidence(refined((model, guide), steps=3), X, num_particles=5000, seed=0)
    assert ((found.log_evidence - exact).abs() < 4.5 * found.standard_error).all()


@pytest.mark.parametrize(
    "fn",
    [
        dist.Beta(torch.tensor(2.0), torch.tensor(3.0)),
        dist.LogNormal(torch.tensor(0.5), torch.tensor(1.5)),
        dist.Binomial(5, torch.tensor(0.3)),
        dist.MultivariateNormal(torch.ones(2), covariance_matrix=2 * torch.eye(2)),
        dist.LowRankMultivariateNormal(torch.ones(2), torch.ones(2, 1), torch.ones(2)),
    ],
    ids=lambda fn: type(fn).__name__,
)
def test_a_refinement_begins_at_the_distribution_itself(fn: Any) -> None:
    def guide() -> None:
        pyro.sample("z", fn)

    same = poutine.trace(refined((guide, guide), 1, 1e-12).guide).get_trace().nodes["z"]["fn"]
    value = fn.sample((5,))
    torch.testing.assert_close(same.log_prob(value), fn.log_prob(value), atol=1e-5, rtol=1e-5)


def flow(x: Tensor) -> None:
    exp = dist.transforms.SoftplusTransform().inv
    with pyro.plate("data", len(x)):
        base = dist.LogNormal(torch.zeros(len(x)), 1.0)
        pyro.sample("z", dist.TransformedDistribution(base, [exp]))


def relaxed(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.RelaxedBernoulli(torch.tensor(0.5), logits=x))


def empirical(x: Tensor) -> None:
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Delta(x))


@pytest.mark.parametrize(
    ("guide", "kind", "reason"),
    [
        (empirical, "Delta", "its v has a constraint"),
        (flow, "TransformedDistribution", "no continuous parameters"),
        (relaxed, "RelaxedBernoulli", "more than its logits"),
    ],
)
def test_what_cannot_be_refined(guide: Any, kind: str, reason: str) -> None:
    with refused("z") as caught:
        log_evidence(refined((Conjugate.model, guide)), X)
    assert kind in str(caught.value)
    assert reason in str(caught.value)


def test_a_refined_guide_takes_its_rows_in_tiles() -> None:
    x = torch.randn(100)  # more than a tile: the noise of the fit differs from row to row
    evidence = log_evidence(refined((Conjugate.model, Conjugate.guide), 3), x, seed=0)
    assert evidence.notes == ()
    exact = Conjugate.log_evidence(x).double()
    assert ((evidence.log_evidence - exact).abs() < 5 * evidence.standard_error + 1e-5).all()


def test_a_refined_guide_of_a_model_with_places_takes_all_rows_together() -> None:
    places = torch.linspace(-2, 2, 100)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)) as index:
            z = pyro.sample("z", dist.Normal(places[index], 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    x = torch.randn(100)
    for change in (lambda program: program, lambda program: wider(program, 1.2)):
        evidence = log_evidence(change(refined((model, Conjugate.guide), 3)), x, seed=0)
        assert "depends on its place" in evidence.notes[0]
        exact = dist.Normal(places, 2**0.5).log_prob(x).double()
        assert ((evidence.log_evidence - exact).abs() < 5 * evidence.standard_error + 0.05).all()


def test_the_method_says_how_the_guide_was_changed() -> None:
    program = wider(refined((Conjugate.model, Conjugate.guide), 20), 1.2)
    changes = "; the guide refined for each unit by 20 steps, widened by a factor of 1.2"
    importance = log_evidence(program, X, num_particles=50, seed=0)
    assert importance.method == f"importance sampling from the guide{changes}"
    assert "widened by a factor of 1.2" in " ".join(importance.summary().split())
    annealed = log_evidence(program, X, method=Annealed(2), num_particles=2, seed=0)
    assert annealed.method.endswith(changes)
    exact = log_evidence(program, X, method="exact")
    assert exact.method == "exact"


def test_an_autoguide_is_not_refined() -> None:
    with refused("AutoNormal", remedy="widen it"):
        refined((Conjugate.model, AutoNormal(Conjugate.model)))
    made = AutoAmortized(two_levels, X)
    with refused("AutoAmortized", remedy="widen it"):
        refined((two_levels, made))


def two_levels(x: Tensor) -> None:
    level = pyro.sample("level", dist.Normal(0.0, 1.0))
    scale = pyro.sample("scale", dist.Normal(0.0, 0.1))
    with pyro.plate("data", len(x)):
        pyro.sample("x", dist.Normal(level, scale.exp()), obs=x)


def test_a_made_guide_is_widened_in_its_coordinates() -> None:
    """About its own mean, under the same skews: the evidence stays, and so does the place."""
    guide = AutoAmortized(two_levels, X)
    with torch.no_grad():
        guide.shared.joint.log_scale.zero_()  # as wide as the prior
    program = (two_levels, guide)
    wide = wider(program, 2.0)
    by_site = [poutine.trace(p).get_trace(X).nodes["_shared"]["fn"] for p in (guide, wide.guide)]
    narrow, spread = (fn.sample((4000,)).std(0) for fn in by_site)
    torch.testing.assert_close(spread, 2 * narrow, rtol=0.15, atol=0.0)
    figures = [log_evidence(p, X, num_particles=4000, seed=0) for p in (program, wide)]
    error = sum(float(figure.standard_error) ** 2 for figure in figures) ** 0.5
    assert abs(figures[0].total - figures[1].total) < 4.5 * error


def test_what_cannot_be_widened() -> None:
    with refused("z", remedy="method='ais'"):
        log_evidence(wider((Conjugate.model, flow), 2.0), X)

    def cauchy(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Cauchy(x, 1.0))

    with refused("z"):
        log_evidence(wider((Conjugate.model, cauchy), 2.0), X)


def test_arguments_are_looked_at_when_they_are_given() -> None:
    for factor in (0.0, torch.inf, torch.nan, "a"):
        with refused("factor", expected="a positive number"):
            wider(Conjugate, factor)  # type: ignore[arg-type]
    for rate in (-1.0, 0.0, torch.nan, "a"):
        with refused("learning_rate", expected="a positive number"):
            refined(Conjugate, 5, rate)  # type: ignore[arg-type]
    with refused("steps", expected="at least 1"):
        refined(Conjugate, 0)
