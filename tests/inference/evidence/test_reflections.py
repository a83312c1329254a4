"""Latents known up to their sign: which they are, and what a proposal or draws of one sign miss."""

import math
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pyro_vae import log_evidence
from pyro_vae.inference import SMC, Annealed, Auto, Bridge, Evidence, Importance, Sandwich
from pyro_vae.inference.evidence.tiles import open_tiles
from pyro_vae.program.prior_guide import with_prior_as_guide
from pyro_vae.program.reflections import Reflection
from pyro_vae.program.symmetries import symmetries

NOTE = "the figure is probably low by up to 0.69 nats"
Y = torch.tensor([4.1, 3.6, 4.4])


def squared(y: Tensor) -> None:
    z = pyro.sample("z", dist.Normal(0.0, 2.0))
    with pyro.plate("rows", len(y)):
        pyro.sample("y", dist.Normal(z.square(), 0.8), obs=y)


def one_sign(y: Tensor) -> None:
    pyro.sample("z", dist.Normal(2.0, 0.15))


def integral(log_density: Any, low: float, high: float) -> float:
    """Integrate over the line by Gauss-Legendre quadrature."""
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(2000))
    z = low + (high - low) * (nodes + 1) / 2
    return float((log_density(z) + (weights * (high - low) / 2).log()).logsumexp(0))


def log_squared(z: Tensor) -> Tensor:
    given = dist.Normal(z.square()[:, None], 0.8).log_prob(Y.double()).sum(1)
    return dist.Normal(0.0, 2.0).log_prob(z) + given


EXACT = integral(log_squared, -15.0, 15.0)


def draws_of(signs: Tensor, count: int) -> Tensor:
    """Draw exactly from the posterior of ``squared``: a chain of ``count`` for each sign."""
    z = torch.linspace(0.5, 4.0, 20_001, dtype=torch.float64)
    shares = log_squared(z).softmax(0)
    return (
        signs[:, None] * z[shares.multinomial(len(signs) * count, True)].reshape(-1, count)
    ).flatten()


def found_in(model: Any, *args: Any) -> list[set[str]]:
    with open_tiles(with_prior_as_guide(model), args=args, seed=0) as tiles:
        found = symmetries(tiles[0])
    return [set(one.names) for one in found if isinstance(one, Reflection)]


def errors_off(evidence: Evidence, exact: float) -> float:
    return abs(float(evidence.log_evidence) - exact) / float(evidence.standard_error)


def said(evidence: Evidence) -> str:
    """The summary without its line breaks."""
    return " ".join(str(evidence).split())


# --- which latents can be mirrored ----------------------------------------------------------------


def product(y: Tensor) -> None:
    """Known up to the sign of both factors together."""
    scale = pyro.sample("scale", dist.HalfNormal(1.0))
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Normal(torch.zeros(3), scale).to_event(1))
    pyro.sample("y", dist.Normal(a * b, 0.3).to_event(1), obs=y)


def hierarchy(y: Tensor) -> None:
    """Mirrored at 1, through the mean that has it as its own mean."""
    mean = pyro.sample("mean", dist.Normal(1.0, 1.0))
    with pyro.plate("rows", len(y)):
        z = pyro.sample("z", dist.Normal(mean, 0.5))
        pyro.sample("y", dist.Normal((z - 1).square(), 0.3), obs=y)


def within_bounds(y: Tensor) -> None:
    u = pyro.sample("u", dist.Uniform(0.0, 4.0))
    t = pyro.sample("t", dist.Cauchy(3.0, 1.0))
    pyro.sample(
        "y", dist.Normal((u - 2).square() + (t - 3).abs(), 0.3).expand([3]).to_event(1), obs=y
    )


def test_the_latents_that_are_mirrored_together_are_found() -> None:
    assert found_in(squared, Y) == [{"z"}]
    assert found_in(product, Y) == [{"a", "b"}]
    assert found_in(hierarchy, Y) == [{"mean", "z"}]
    assert found_in(within_bounds, Y) == [{"u"}, {"t"}]  # their product follows


def test_a_series_of_many_latents_is_mirrored_as_a_whole() -> None:
    def walk(y: Tensor, power: int) -> None:
        z: Any = 0.0
        for i in range(len(y)):
            z = pyro.sample(f"z_{i}", dist.Normal(z, 1.0))
            pyro.sample(f"y_{i}", dist.Normal(z**power, 0.5), obs=y[i])

    y = torch.randn(8).square()
    assert found_in(lambda y: walk(y, 2), y) == [{f"z_{i}" for i in range(8)}]
    assert found_in(lambda y: walk(y, 3), y) == []


def test_where_nothing_can_be_mirrored() -> None:
    def of_prior(prior: Any) -> Any:
        def model(y: Tensor) -> None:
            z = pyro.sample("z", prior)
            pyro.sample("y", dist.Normal(z.square(), 0.3).expand([3]).to_event(1), obs=y)

        return model

    for prior in (
        dist.Normal(0.1, 2.0),
        dist.Gumbel(0.0, 1.0),
        dist.HalfNormal(1.0),
        dist.Beta(2.0, 3.0),
    ):
        assert found_in(of_prior(prior), Y) == []


# --- the evidence ---------------------------------------------------------------------------------


def test_a_guide_of_one_sign_has_no_error_and_says_what_to_do() -> None:
    low = log_evidence((squared, one_sign), args=(Y,), seed=0)
    assert abs(float(low.log_evidence) + math.log(2) - EXACT) < 0.05
    assert low.standard_error.isnan()
    assert low.bad_units == 1
    text = said(low)
    assert "± unknown" in text
    assert text.count(NOTE.split(" by")[0]) == 1
    assert "few weights decide" not in text
    assert "Importance(symmetrize=True)" in text


def test_a_guide_with_both_signs_is_exact() -> None:
    method = Importance(symmetrize=True)
    whole = log_evidence((squared, one_sign), args=(Y,), method=method, seed=0)
    assert errors_off(whole, EXACT) < 4
    assert float(whole.standard_error) < 0.05
    assert "'z' can be mirrored" in said(whole)
    assert NOTE not in said(whole)


def test_two_factors_change_their_signs_together() -> None:
    y = torch.tensor([1.5, -1.2, 0.9])

    def known_scale(y: Tensor) -> None:
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        pyro.sample("y", dist.Normal(a * b, 0.3).to_event(1), obs=y)

    def one_sign_of_known_scale(y: Tensor) -> None:
        a = pyro.sample("a", dist.Normal(1.2, 0.5))
        pyro.sample(
            "b", dist.Normal(y * a / (a * a + 0.09), 0.3 / (a * a + 0.09).sqrt()).to_event(1)
        )

    def log_density(a: Tensor) -> Tensor:
        spread = (a.square() + 0.09).sqrt()[:, None]
        return dist.Normal(0.0, 1.0).log_prob(a) + dist.Normal(0.0, spread).log_prob(
            y.double()
        ).sum(1)

    exact, program = integral(log_density, -9.0, 9.0), (known_scale, one_sign_of_known_scale)
    whole = log_evidence(
        program, args=(y,), method=Importance(symmetrize=True), num_particles=4000, seed=0
    )
    assert errors_off(whole, exact) < 4
    low = log_evidence(program, args=(y,), num_particles=4000, seed=0)
    assert low.standard_error.isnan()
    assert abs(float(low.log_evidence) + math.log(2) - exact) < 0.2


KINDS = {
    "annealing": lambda start, **options: Annealed(20, start, num_leapfrog=3, **options),
    "smc": lambda start, **options: SMC(start, **options),
    "sandwich": lambda start, **options: Sandwich(Annealed(20, start, num_leapfrog=3, **options)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_on_one_side_has_no_error(kind: str) -> None:
    method = KINDS[kind]("guide")
    low = log_evidence((squared, one_sign), args=(Y,), method=method, num_particles=200, seed=0)
    assert low.standard_error.isnan()
    assert said(low).count(NOTE) == 1
    assert "symmetrize=True, or a start from the prior" in low.notes[-1]
    assert "too few particles" not in said(low)
    assert abs(float(low.log_evidence) + math.log(2) - EXACT) < 0.2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("start", ["guide", "laplace", "prior"])
def test_a_start_on_both_sides_has_one(kind: str, start: str) -> None:
    method = KINDS[kind](start, symmetrize=start != "prior")
    whole = log_evidence((squared, one_sign), args=(Y,), method=method, num_particles=200, seed=0)
    assert errors_off(whole, EXACT) < 4
    assert NOTE not in said(whole)
    assert ("mixed over all copies" in said(whole)) is (start != "prior")
    assert ("in all symmetric copies" in whole.method) is (start != "prior")


def test_importance_sampling_from_a_laplace_approximation_of_one_sign() -> None:
    """A tenth of its draws come from the prior: few of them do not tell of the other sign."""
    low = log_evidence(squared, args=(Y,), method=Annealed(1, "laplace"), num_particles=100, seed=0)
    assert low.standard_error.isnan()
    assert NOTE in said(low)
    method = Annealed(1, "laplace", symmetrize=True)
    whole = log_evidence(squared, args=(Y,), method=method, num_particles=1000, seed=0)
    assert errors_off(whole, EXACT) < 4
    assert float(whole.standard_error) < 0.05


def test_a_guide_that_holds_either_sign_keeps_its_error() -> None:
    """A tenth of its draws lie on one side, so its weights tell of both; of four draws they may not."""

    def uneven(y: Tensor) -> None:
        parts = dist.Normal(torch.tensor([-2.0, 2.0]), 0.2)
        shares = dist.Categorical(torch.tensor([0.1, 0.9]))
        pyro.sample("z", dist.MixtureSameFamily(shares, parts))

    found = log_evidence((squared, uneven), args=(Y,), num_particles=2000, seed=0)
    assert errors_off(found, EXACT) < 4
    assert NOTE not in said(found)
    assert NOTE in said(log_evidence((squared, uneven), args=(Y,), num_particles=4, seed=0))


# --- draws of the posterior -----------------------------------------------------------------------


@pytest.mark.parametrize("signs", [[1.0, 1.0], [1.0, -1.0], [1.0, 1.0, 1.0, -1.0]])
def test_a_bridge_of_chains_that_each_hold_one_sign_has_no_error(signs: list[float]) -> None:
    draws = {"z": draws_of(torch.tensor(signs), 400).float()}
    found = log_evidence(squared, args=(Y,), method=Bridge(draws, len(signs)), seed=0)
    assert found.standard_error.isnan()
    assert NOTE in said(found)
    assert any("draws of a chain hold a part" in note for note in found.notes)
    method = Bridge(draws, len(signs), symmetrize=True)
    whole = log_evidence(squared, args=(Y,), method=method, num_particles=4000, seed=0)
    assert errors_off(whole, EXACT) < 4
    assert "Copies of the draws were taken at random" in said(whole)


def test_a_bridge_of_draws_with_both_signs_has_an_error() -> None:
    z = draws_of(torch.tensor([1.0]), 2000).float()
    draws = {"z": torch.where(torch.rand(2000) < 0.5, z, -z)}
    found = log_evidence(squared, args=(Y,), method=Bridge(draws, 2), num_particles=4000, seed=0)
    assert errors_off(found, EXACT) < 4
    assert NOTE not in said(found)


def test_auto_takes_both_signs_by_itself() -> None:
    draws = {"z": draws_of(torch.tensor([1.0]), 2000).float()}
    for method in (Auto(), Auto(draws=draws)):
        found = log_evidence((squared, one_sign), args=(Y,), method=method, seed=0)
        assert errors_off(found, EXACT) < 4
        assert "symmetrize=True" in found.notes[-1]
