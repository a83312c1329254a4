"""The detector in scikit-learn's form."""

from functools import partial

import numpy as np
import pytest
from refused import refused
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from stories import RNG

from pyro_vae.inference import Typicality
from pyro_vae.likelihoods import Normal
from pyro_vae.models import VAE
from pyro_vae.sklearn import AnomalyDetector

FEW = {"steps": 2}


@parametrize_with_checks([AnomalyDetector(fit_options=FEW)])
def test_the_checks_of_estimators(estimator, check) -> None:
    check(estimator)


def test_anomalies_have_negative_decisions() -> None:
    rows, far = RNG.normal(size=(300, 3)), RNG.normal(size=(20, 3)) + 8
    detector = AnomalyDetector().fit(rows)
    assert (detector.predict(far) == -1).all()
    new = RNG.normal(size=(400, 3))
    assert (detector.predict(new) == -1).mean() < 0.15
    np.testing.assert_allclose(
        detector.decision_function(far), detector.score_samples(far) - detector.offset_
    )
    with_gap = far[:1].copy()
    with_gap[0, 1] = np.nan
    assert detector.predict(with_gap) == [-1]


def test_it_stands_in_a_pipeline_with_another_program_and_score() -> None:
    program = partial(VAE, latent_dim=1, likelihood=Normal)
    detector = AnomalyDetector(
        program, by=Typicality(), fit_options={"epochs": 2}, num_particles=20, held_out=0.4
    )
    pipeline = make_pipeline(StandardScaler(), clone(detector))
    rows = RNG.normal(size=(100, 3))
    scores = pipeline.fit(rows).score_samples(np.r_[rows[:5], rows[:5] + 50])
    assert roc_auc_score([1] * 5 + [0] * 5, scores) == 1


def test_a_score_learns_once_and_is_calibrated_by_other_rows() -> None:
    learnt, scored = [], []

    class Watched(Typicality):
        def learn(self, reference):
            learnt.append(reference.values[0])
            return super().learn(reference)

        def figures(self, rows, known):
            scored.append(rows.values[0])
            return super().figures(rows, known)

    rows = RNG.normal(size=(100, 2))
    detector = AnomalyDetector(by=Watched(), fit_options=FEW, held_out=0.4).fit(rows)
    detector.score_samples(rows[:7])
    assert [len(x) for x in learnt] == [20]
    assert [len(x) for x in scored] == [20, 7]
    assert not (learnt[0][:, None] == scored[0]).all(-1).any()


def test_a_score_that_learns_needs_two_rows() -> None:
    with refused("held_out", remedy="more rows"):
        AnomalyDetector(by=Typicality(), fit_options=FEW).fit(RNG.normal(size=(5, 2)))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_is_refused(share) -> None:
    with refused("held_out"):
        AnomalyDetector(held_out=share).fit(RNG.normal(size=(20, 2)))


def test_columns_far_from_zero_keep_their_digits() -> None:
    rows = RNG.normal(size=(200, 2))
    near, far = (AnomalyDetector().fit(rows + shift) for shift in (0.0, 1e9))
    new = np.array([[0.0, 0.0], [7.0, 7.0]])
    np.testing.assert_allclose(
        far.score_samples(new + 1e9), near.score_samples(new), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"false_alarms": 0},
        {"false_alarms": 2},
        {"held_out": 1},
        {"by": "dose"},
        {"random_state": np.random.RandomState(0)},
        {"num_particles": 0},
    ],
)
def test_wrong_options_are_refused(wrong) -> None:
    with refused(next(iter(wrong))):
        AnomalyDetector(**wrong).fit(RNG.normal(size=(20, 2)))
