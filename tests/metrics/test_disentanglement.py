"""Metrics of disentanglement: the identity, a rotation, independent codes, closed forms, bad input."""

import math

import numpy as np
import pytest
import torch
from html_page import whole_table
from refused import refused

from pyro_vae.metrics import (
    METRICS,
    dci,
    disentanglement,
    entropy,
    factor_vae,
    mcc,
    mig,
    mutual_information,
    sap,
)

ROTATION = np.array([[1, -1], [1, 1]]) / math.sqrt(2)
ROTATED = {"MIG": 0.0, "DCI": 0.0, "SAP": 0.0, "FactorVAE": 0.5, "MCC": math.sqrt(0.5)}
SLACK = {"MIG": 0.04, "DCI": 0.02, "SAP": 0.08, "FactorVAE": 0.1, "MCC": 0.01}


@pytest.fixture
def rng(request):
    return np.random.default_rng(torch.initial_seed() % 2**32)


def real(rng, n=2000):
    return rng.uniform(size=(n, 2))


def classes(rng, n=2000):
    return rng.integers(4, size=(n, 2)).astype(float)


@pytest.mark.parametrize("factors", [real, classes], ids=["real", "classes"])
@pytest.mark.parametrize("name", METRICS)
def test_the_identity_scores_1(rng, name, factors) -> None:
    v = factors(rng)
    found = METRICS[name](v, v, num_splits=0)
    assert found.value == pytest.approx(1, abs=0.02)
    permuted = METRICS[name](1 - 3 * v[:, ::-1], v, num_splits=0)
    assert permuted.value == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("factors", [real, classes], ids=["real", "classes"])
@pytest.mark.parametrize("name", METRICS)
def test_two_factors_rotated_by_45_degrees(rng, name, factors) -> None:
    found = []
    for _ in range(10 if name == "FactorVAE" else 1):  # whose votes come from a few groups of rows
        v = factors(rng)
        codes = (v - v.mean(0)) / v.std(0) @ ROTATION
        found.append(METRICS[name](codes, v, num_splits=0).value)
    assert np.mean(found) == pytest.approx(ROTATED[name], abs=SLACK[name])


@pytest.mark.parametrize("name", METRICS)
def test_codes_that_know_nothing_score_little(rng, name) -> None:
    v, codes = real(rng), rng.normal(size=(2000, 3))
    chance = {"FactorVAE": 0.5}.get(name, 0.0)
    if name == "DCI":  # what is not informative has an importance all the same
        assert dci(codes, v, num_splits=0).parts["informativeness"].max() < 0.1
    else:
        assert METRICS[name](codes, v, num_splits=0).value == pytest.approx(chance, abs=0.12)


def test_a_code_that_holds_both_factors_and_one_that_holds_none(rng) -> None:
    """One code holds both factors: complete, but not disentangled."""
    v = classes(rng)
    codes = np.stack([4 * v[:, 0] + v[:, 1], rng.normal(size=len(v))], 1)
    found = dci(codes, v, num_splits=0)
    assert found.value < 0.3
    assert found.parts["completeness"].min() > 0.9
    assert found.parts["informativeness"].min() > 0.95
    assert mig(codes, v, num_splits=0).value > 0.95  # each factor lies in one code


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.6])
def test_information_of_a_linear_gaussian_code(rng, rho) -> None:
    """I = -log(1 - rho^2) / 2, with the error of the mean of the log density ratio."""
    n, bins = 200_000, 60
    x = rng.normal(size=n)
    y = rho * x + math.sqrt(1 - rho**2) * rng.normal(size=n)
    expected = -0.5 * math.log(1 - rho**2)
    residual, ratio = y - rho * x, 1 - rho**2
    log_ratio = expected + (y**2 - residual**2 / ratio) / 2
    cells = (
        math.sqrt(2) * bins / (2 * n)
    )  # of the estimate of the counts, where x and y are independent
    error = math.hypot(log_ratio.std() / math.sqrt(n), cells)
    found = mutual_information(x, y, bins)
    lost = 0.015 * expected  # in the bins
    assert found == pytest.approx(expected, abs=4 * error + lost)


def test_information_of_a_noisy_code_has_the_gap_of_the_closed_form(rng) -> None:
    """A symmetric channel of two values: I = log 2 - H(flip)."""
    n, flip = 20_000, 0.1
    v = rng.integers(2, size=n)
    z = np.where(rng.uniform(size=n) < flip, 1 - v, v)
    expected = math.log(2) + flip * math.log(flip) + (1 - flip) * math.log(1 - flip)
    spread = math.sqrt(flip * (1 - flip)) * abs(math.log((1 - flip) / flip))
    assert mutual_information(z, v) == pytest.approx(expected, abs=4 * spread / math.sqrt(n))
    found = mig(np.stack([z, rng.integers(2, size=n)], 1), v, num_splits=0)
    assert found.value == pytest.approx(expected / math.log(2), abs=6 * spread / math.sqrt(n))


def test_entropy_without_the_bias_of_counts(rng) -> None:
    """The mean over samples of 50 of a fair die of six, which counts alone put 0.05 too low."""
    found = [entropy(rng.integers(6, size=50)) for _ in range(400)]
    error = np.std(found) / math.sqrt(400)
    assert np.mean(found) == pytest.approx(math.log(6), abs=4 * error + 0.004)


def test_correlation_of_a_noisy_code_is_the_closed_form(rng) -> None:
    n, rho = 5000, 0.8
    v = rng.normal(size=n)
    z = rho * v + math.sqrt(1 - rho**2) * rng.normal(size=n)
    found = mcc(z, v, seed=1)
    assert found.value == pytest.approx(rho, abs=4 * (1 - rho**2) / math.sqrt(n))
    assert sap(np.stack([z, 0 * z], 1), v, num_splits=0).value == pytest.approx(rho**2, abs=0.04)


def test_the_error_is_that_of_a_mean(rng) -> None:
    """Of the correlation r of n rows: (1 - r^2) / sqrt(n)."""
    n, rho = 4000, 0.5
    v = rng.normal(size=n)
    z = rho * v + math.sqrt(1 - rho**2) * rng.normal(size=n)
    found = mcc(z, v, num_splits=200, seed=2)
    expected = (1 - rho**2) / math.sqrt(n)
    # a standard deviation of 200 has an error of 5 %
    assert found.standard_error == pytest.approx(expected, rel=0.25)


def test_the_same_seed_gives_the_same_scores_and_the_table_shows_them(rng) -> None:
    v = real(rng, 300)
    codes = torch.from_numpy(v @ ROTATION)
    one, other = (disentanglement(codes, torch.from_numpy(v), num_splits=3, seed=4) for _ in "ab")
    assert {n: s.value for n, s in one.scores.items()} == {
        n: s.value for n, s in other.scores.items()
    }
    assert one["MCC"].standard_error == other["MCC"].standard_error > 0
    assert str(one).count("\n") == len(METRICS) - 1
    whole_table(one._repr_html_())


def test_fewer_codes_than_factors_and_codes_that_never_change(rng) -> None:
    v = real(rng)
    assert mcc(v[:, :1], v, num_splits=0).value == pytest.approx(0.5)
    still = np.zeros((len(v), 1))
    assert factor_vae(np.hstack([v, still]), v, num_splits=0).value > 0.98
    for metric in METRICS.values():
        assert np.isfinite(metric(still, v, num_splits=0).value)


def test_what_does_not_fit_is_refused() -> None:
    z, v = np.arange(6.0).reshape(3, 2), np.array([0, 1, 1])
    with refused("factors", expected="a row of factors for each code"):
        mig(z, v[:2])
    with refused("factors", remedy="leave it out"):
        mig(z, np.ones(3))
    with refused("codes", remedy="leave such rows out"):
        sap(np.where(z == 3, np.nan, z), v)
    with refused("codes"):
        dci(np.zeros((3, 2, 2)), v)
    with refused("codes"):
        dci("abc", v)
    with refused("is_class"):
        mcc(z, v, is_class=[True, False])
    with refused("num_splits"):
        mcc(z, v, num_splits=-1)
    with refused("seed"):
        mcc(z, v, seed=-1)
    with refused("codes", expected="two rows or more"):
        mcc(z[:1], v[:1])
