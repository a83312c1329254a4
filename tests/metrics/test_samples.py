"""Metrics of samples: closed forms, errors, other libraries, bad input."""

import importlib.util
import math

import numpy as np
import pytest
import torch
from refused import refused

from pyro_vae._torchvision import torchvision
from pyro_vae.metrics import (
    coverage,
    density,
    frechet_distance,
    kernel_distance,
    memorisation,
    nearest_rows,
    precision,
    random_network,
    recall,
)

OF_TWO = (frechet_distance, kernel_distance, precision, recall, density, coverage)


@pytest.fixture
def rng(request):
    return np.random.default_rng(torch.initial_seed() % 2**32)


def is_near(score, value, errors=4.0):
    return abs(score.value - value) < errors * score.standard_error


# --- the Frechet distance -----------------------------------------------------------------------------


def normals(rng, n):
    """Two samples of Normals whose covariances do not commute, and the distance of the two."""
    a, b = (rng.normal(size=(4, 4)) for _ in range(2))
    one, other = a @ a.T, b @ b.T
    shift = rng.normal(size=4)
    eigenvalues = np.linalg.eigvals(one @ other).real  # another route than the code's
    exact = shift @ shift + np.trace(one + other) - 2 * np.sqrt(eigenvalues).sum()
    return rng.normal(size=(n, 4)) @ a.T, rng.normal(size=(n, 4)) @ b.T + shift, exact


def test_frechet_distance_of_normals(rng) -> None:
    x, y, exact = normals(rng, 3000)
    found = frechet_distance(x, y).extrapolated()
    assert is_near(found, exact)
    assert found.standard_error < 0.2 * exact


def test_frechet_distance_is_exact_on_points_with_exact_moments() -> None:
    x = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    found = frechet_distance(x, 3 * x + 1, num_splits=0)  # each sd is sqrt(2/3)
    assert found.value == pytest.approx(2 + 2 * (2 * math.sqrt(2 / 3)) ** 2, abs=1e-12)
    assert frechet_distance(x, x).value == pytest.approx(0, abs=1e-12)


def test_splits_of_one_sample_have_distance_0(rng) -> None:
    x = rng.standard_t(10, size=(2000, 6))
    frechet = frechet_distance(x[:1000], x[1000:])
    assert is_near(frechet.extrapolated(), 0, 3)
    assert is_near(kernel_distance(x[:1000], x[1000:]), 0, 3)
    assert frechet.value > 2 * abs(frechet.extrapolated().value)  # what it is worth
    # the leading bias for a standard Normal, from the means: 2 D / n; covariances add D (D + 1) / 2n
    z = rng.normal(size=(2000, 6))
    bias = frechet_distance(z[:1000], z[1000:], num_splits=100).bias
    assert bias == pytest.approx((2 * 6 + 6 * 7 / 2) / 1000, rel=0.25)


@pytest.mark.parametrize(("n", "noted"), [(20, True), (49, True), (200, False)])
def test_fewer_rows_than_features_are_said(rng, n, noted) -> None:
    found = frechet_distance(rng.normal(size=(n, 30)), rng.normal(size=(n, 30)))
    assert math.isfinite(found.value)
    assert math.isfinite(found.standard_error)
    assert bool(found.notes) == noted
    assert ("30 features" in str(found)) == noted


# --- the kernel distance ------------------------------------------------------------------------------


def test_kernel_distance_by_hand(rng) -> None:
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(5, 3)) + 1
    kernel = lambda a, b: (a @ b / 3 + 1) ** 3  # noqa: E731
    one = np.mean([kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    other = np.mean([kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert kernel_distance(x, y).value == pytest.approx(one + other - 2 * across, rel=1e-12)


def test_kernel_distance_of_normals(rng) -> None:
    """In one dimension E k(x, x') = E (x x' + 1)^3 = 1 + 3 m^2 + 3 s^2 + t^2, with the raw moments."""
    m, s, t = 0.5, 1.25, 0.5**3 + 3 * 0.5  # of Normal(0.5, 1); Normal(0, 1) has 0, 1, 0
    exact = (3 * m**2 + 3 * s**2 + t**2) + 3 - 2 * 3 * s
    x, y = rng.normal(size=(2000, 1)), rng.normal(size=(2000, 1)) + 0.5
    assert is_near(kernel_distance(x, y), exact)


def test_moments_above_the_third_are_not_seen_but_the_third_is(rng) -> None:
    """The Frechet distance does not see skewness, the kernel distance does."""
    x, y = rng.normal(size=(3000, 1)), rng.exponential(size=(3000, 1)) - 1
    assert is_near(frechet_distance(x, y).extrapolated(), 0)
    found = kernel_distance(x, y)
    assert is_near(found, 4)
    assert found.value > 3 * found.standard_error


# --- precision, recall, density, coverage -------------------------------------------------------------


def test_balls_by_hand() -> None:
    """Two modes of real rows, of which the samples know one, and one sample far off."""
    real = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.0]])
    made = np.array([[0.5], [0.6], [1.4], [30.0]])
    options = {"num_neighbours": 1, "num_splits": 0}
    assert precision(real, made, **options).value == 3 / 4
    # the samples' balls reach to 0.1, 0.1, 0.8 and 28.6 from 0.5, 0.6, 1.4 and 30
    assert recall(real, made, **options).value == 5 / 6
    assert density(real, made, **options).value == 6 / 4
    assert coverage(real, made, **options).value == 3 / 6


def test_density_and_coverage_of_the_same_distribution(rng) -> None:
    x, y = rng.normal(size=(600, 5)), rng.normal(size=(400, 5))
    assert is_near(density(x, y, num_neighbours=4), 1)
    missed = math.prod((599 - j) / (999 - j) for j in range(4))
    assert is_near(coverage(x, y, num_neighbours=4), 1 - missed)


def test_a_lost_mode_lowers_recall_and_coverage_only(rng) -> None:
    x = rng.normal(size=(400, 2)) + 20 * rng.integers(2, size=(400, 1))
    y = rng.normal(size=(400, 2))
    assert precision(x, y).value > 0.9
    assert density(x, y).value > 0.4
    assert recall(x, y).value < 0.65
    assert coverage(x, y).value < 0.65
    assert recall(y, x).value == precision(x, y).value


@pytest.fixture
def torch_fidelity():
    if importlib.util.find_spec("torch_fidelity") is None:
        pytest.skip("torch-fidelity is not installed")
    torchvision()  # which it imports
    return importlib.import_module("torch_fidelity")


def test_torch_fidelity_agrees(rng, torch_fidelity) -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import mmd2
    from torch_fidelity.metric_prc import prc_features_to_metric

    x, y = rng.normal(size=(300, 8)), rng.normal(size=(250, 8)) + 0.3
    real, made = torch.from_numpy(x), torch.from_numpy(y)
    for k in (1, 3, 5):
        options = {"prc_neighborhood": k, "prc_batch_size": 100, "save_cpu_ram": False}
        theirs = prc_features_to_metric(made, real, verbose=False, **options)
        ours = {"num_neighbours": k, "num_splits": 0}
        assert precision(x, y, **ours).value == pytest.approx(theirs["precision"], abs=1e-6)
        assert recall(x, y, **ours).value == pytest.approx(theirs["recall"], abs=1e-6)
    statistics = [fid_features_to_statistics(f) for f in (real, made)]
    fid = fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    assert frechet_distance(x, y).value == pytest.approx(fid, rel=1e-6)
    gram = [(a @ b.T / 8 + 1) ** 3 for a, b in ((x[:250], x[:250]), (x[:250], y), (y, y))]
    assert kernel_distance(x[:250], y).value == pytest.approx(mmd2(*gram), rel=1e-9)


# --- memorisation -------------------------------------------------------------------------------------


def test_memorisation(rng) -> None:
    train, held_out, new = (rng.normal(size=(300, 3)) for _ in range(3))
    assert is_near(memorisation(train, held_out, new), 0.5)
    copies = train[:50] + 1e-6
    found = memorisation(train, held_out, copies)
    assert found.value > 0.999
    assert found.parts["row"].tolist() == list(range(50))
    half = memorisation(train, held_out, np.concatenate([train[:150], new[:150]]))
    assert is_near(half, 0.75)
    assert memorisation(train, held_out, held_out).value == pytest.approx(0.5)  # all are ties
    assert memorisation(train, held_out, new + 50).value == 0


def test_nearest_rows_by_another_route(rng) -> None:
    x, y = rng.normal(size=(2500, 2)), rng.normal(size=(30, 2))
    distance, row = nearest_rows(x, y)
    all_of_them = np.linalg.norm(y[:, None] - x, axis=2)
    assert row.tolist() == all_of_them.argmin(1).tolist()
    assert np.allclose(distance, all_of_them.min(1), rtol=1e-12)


# --- errors, seeds, input -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("metric", OF_TWO)
def test_the_error_is_the_spread_of_new_samples(rng, metric) -> None:
    scores = [metric(rng.normal(size=(300, 4)), 1.2 * rng.normal(size=(300, 4))) for _ in range(60)]
    spread = np.std([s.value for s in scores], ddof=1)
    assert 0.75 < np.mean([s.standard_error for s in scores]) / spread < 1.7


@pytest.mark.parametrize("metric", OF_TWO)
def test_same_seed_same_result(rng, metric) -> None:
    x, y = rng.normal(size=(60, 3)), torch.from_numpy(rng.normal(size=(50, 3)))
    one, again, other = (metric(x, y, seed=s) for s in (3, 3, 4))
    assert (one.value, one.standard_error) == (again.value, again.standard_error)
    assert one.value == other.value
    assert one.standard_error != other.standard_error
    assert one.num_rows == 50
    assert "n = 50" in str(one)


@pytest.mark.parametrize("metric", OF_TWO)
def test_bad_samples_are_refused(rng, metric) -> None:
    x = rng.normal(size=(40, 3))
    with refused("generated", expected="same features"):
        metric(x, x[:, :2])
    with refused("generated", expected="or more"):
        metric(x, x[:3])
    broken = x.copy()
    broken[7, 1] = np.nan
    with refused("real", remedy="leave such rows out") as caught:
        metric(broken, x)
    assert "row 7" in str(caught.value)
    with refused("real"):
        metric("text", x)
    with refused("features", remedy="ModuleFeatures"):
        metric(x, x, features=torch.nn.Linear(3, 2))
    with refused("num_splits"):
        metric(x, x, num_splits=-1)


def test_features_are_named_and_images_are_laid_out_as_rows(rng) -> None:
    images = torch.rand(40, 1, 4, 4)
    features = random_network((1, 4, 4), 5)
    found = frechet_distance(images[:20], images[20:], features=features)
    assert found.name == f"Frechet distance [{features.name}]"
    assert found.value == frechet_distance(features(images[:20]), features(images[20:])).value
    pixels = kernel_distance(images[:20], images[20:])
    assert pixels.value == kernel_distance(images[:20].flatten(1), images[20:].flatten(1)).value
