"""Simulation-based calibration: it finds what is wrong, and passes what is right."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from posteriors import KNOWN
from refused import refused
from torch import Tensor

from pyro_vae import calibrate
from pyro_vae.inference import NUTS, Calibration, Guide, plot_ranks
from pyro_vae.inference.posterior.ranks import rank


def program(spread: float, shift: float = 0.0):
    """z ~ Normal(0, 1), x ~ Normal(z, 1): the posterior is Normal(x / 2, sqrt(1/2))."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2 + shift, spread * 0.5**0.5))

    return model, guide


@pytest.mark.parametrize(
    ("spread", "verdict"), [(1.0, "right"), (0.8, "too narrow"), (1.2, "too wide")]
)
def test_a_guide_is_found_out_in_19_of_20_seeds(spread, verdict) -> None:
    found = [
        calibrate(program(spread), torch.zeros(1000), method=Guide(), seed=seed)
        for seed in range(20)
    ]
    assert sum(each.verdicts["z"] == verdict for each in found) >= 19
    assert sum(each.is_passed for each in found) >= 19 or verdict != "right"
    assert all(each.num_data_sets == 1000 for each in found)


def test_the_words_and_the_share_of_intervals_that_hold() -> None:
    narrow = calibrate(program(0.5), torch.zeros(1000), method=Guide(), seed=0)
    # a central 90 % of Normal(m, 0.5 s) holds what lies within 0.82 s
    expected = 2 * float(dist.Normal(0.0, 1.0).cdf(torch.tensor(0.5 * 1.645))) - 1
    assert narrow.coverage["z"] == pytest.approx(expected, abs=0.06)
    assert str(narrow).startswith("not calibrated: 1 of 1 numbers")
    assert "z: too narrow" in str(narrow)
    low = calibrate(program(1.0, shift=-0.4), torch.zeros(1000), method=Guide(), seed=0)
    assert low.verdicts["z"] == "too low"
    assert low.to_frame().loc["z", "verdict"] == "too low"
    assert str(calibrate(program(1.0), torch.zeros(500), method=Guide(), seed=0)).startswith("cal")


def test_importance_sampling_makes_a_wide_guide_right() -> None:
    found = calibrate(program(1.3), torch.zeros(600), num_data_sets=600, seed=0)
    assert found.is_passed, str(found)


def test_a_joint_program_is_simulated_again_and_again() -> None:
    """Each pass over the data is another data set, with other noise."""

    def model(x: Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)

    def guide(spread: float):
        def guide(x: Tensor) -> None:
            n = torch.tensor(1.0 + x.shape[-1])
            pyro.sample("mean", dist.Normal(x.sum() / n, spread * n.rsqrt()))

        return guide

    data = {"args": (torch.zeros(5),), "num_data_sets": 300, "seed": 0, "method": Guide()}
    right, wrong = (calibrate((model, guide(spread)), **data) for spread in (1.0, 0.5))
    assert right.is_passed, str(right)
    assert wrong.verdicts == {"mean": "too narrow"}
    assert len(right.ranks["mean"].unique()) > 60


def test_discrete_latents_have_uniform_ranks() -> None:
    """Ties are broken at random; which component a row has is drawn back from its exact conditional."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            p = torch.tensor([0.2, 0.5, 0.3])
            which = pyro.sample("which", dist.Categorical(p), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(1.5 * which, 1.0), obs=x)

    found = calibrate((model, lambda x: None), torch.zeros(1000), seed=0)
    assert list(found.ranks) == ["which"]
    assert found.is_passed, str(found)


@pytest.mark.slow
def test_numbers_are_named_and_nuts_is_calibrated() -> None:
    known = KNOWN[3]  # regression, by code for one particle
    method = NUTS(num_chains=1, num_warmup=40)
    found = calibrate(
        known.model, known.args, method=method, num_data_sets=20, num_draws=20, seed=0
    )
    assert list(found.ranks) == ["w[0]", "w[1]", "w[2]"]
    assert found.is_passed, str(found)


def test_the_same_seed_gives_the_same_ranks() -> None:
    one, other = (
        calibrate(program(1.0), torch.zeros(60), method=Guide(), num_data_sets=100, seed=4)
        for _ in range(2)
    )
    assert torch.equal(one.ranks["z"], other.ranks["z"])
    assert not torch.equal(one.ranks["z"][:40], one.ranks["z"][60:])  # the second pass


def test_ranks_among_ties_are_drawn() -> None:
    found = rank(torch.zeros(9, 5000), torch.zeros(5000))
    counts = torch.bincount(found, minlength=10)
    assert len(counts) == 10
    assert ((counts - 500).abs() < 4.5 * 500**0.5).all()


def test_the_picture_marks_what_fails() -> None:
    found = calibrate(program(0.6), torch.zeros(500), method=Guide(), num_data_sets=500, seed=0)
    (axes,) = plot_ranks(found).axes
    assert axes.get_title(loc="left") == "z: too narrow"
    counts = axes.patches[0].get_data().values
    assert counts.sum() == 500
    assert counts[0] > 2 * 25
    assert counts[-1] > 2 * 25
    ranks = {f"z[{i}]": torch.arange(1000) % 100 for i in range(12)}
    assert (
        len([a for a in plot_ranks(Calibration(ranks, 99, "draws")).axes if a.lines or a.patches])
        == 9
    )


def test_data_that_cannot_be_simulated_are_refused() -> None:
    def model(x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.square())

    guide = lambda x: pyro.sample("z", dist.Normal(0.0, 1.0))  # noqa: E731
    with refused("x"):
        calibrate((model, guide), args=(torch.ones(3),), seed=0)
    with refused("num_data_sets"):
        calibrate(program(1.0), torch.zeros(5), num_data_sets=3)
    with refused("num_particles"):
        calibrate(program(1.0), torch.zeros(5), method=Guide(), num_particles=3)
