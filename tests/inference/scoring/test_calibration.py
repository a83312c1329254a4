"""Conformal p-values: the share of normal rows that are flagged, and the false discovery proportion."""

import math

import pytest
import torch
from torch import Tensor

from pyro_vae.inference.scoring.calibration import Calibration, flagged_places, q_values

SPLITS = 200


def scores_of(rows: Tensor) -> Tensor:
    """The surprise of a standard Normal, up to a constant: its score does not matter for what is proved."""
    return rows.square().sum(1)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("with_duplicates", [False, True])
def test_normal_rows_are_flagged_as_often_as_promised(alpha, with_duplicates) -> None:
    shares = []
    for _ in range(SPLITS):
        rows = torch.randn(600, 2)
        if with_duplicates:
            rows = rows.round()
        scores = scores_of(rows)
        p = Calibration(scores[:199]).p_values(scores[199:])
        shares.append(float((p <= alpha + 1e-12).double().mean()))
    found = torch.tensor(shares).double()
    error = float(found.std()) / math.sqrt(SPLITS)
    expected = flagged_places(199, alpha) / 200
    assert float(found.mean()) <= expected + 3 * error
    if not with_duplicates:
        assert float(found.mean()) >= expected - 3 * error


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_the_false_discovery_proportion_is_kept(rate) -> None:
    proportions, found_any = [], 0
    for _ in range(SPLITS):
        normal, strange = torch.randn(700, 2), torch.randn(40, 2) + 4
        rows = torch.cat([normal[500:], strange])
        q = q_values(Calibration(scores_of(normal[:500])).p_values(scores_of(rows)))
        found = q <= rate
        found_any += int(found.any())
        false = int(found[:200].sum())
        proportions.append(false / max(1, int(found.sum())))
    mean = torch.tensor(proportions).double()
    assert float(mean.mean()) <= rate + 3 * float(mean.std()) / math.sqrt(SPLITS)
    assert found_any > SPLITS / 2


@pytest.mark.parametrize("count", [5, 19, 20, 99, 100])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.3])
def test_the_threshold_flags_the_rows_with_small_p_values(count, alpha) -> None:
    scores, new = torch.randn(count).round(decimals=1), torch.randn(300).round(decimals=1)
    calibration = Calibration(scores)
    p = calibration.p_values(new)
    assert torch.equal(new > calibration.threshold(alpha), p <= alpha + 1e-12)


def test_ties_count_against_a_row() -> None:
    calibration = Calibration(torch.tensor([1.0, 2.0, 2.0, 3.0]))
    p = calibration.p_values(torch.tensor([2.0, 3.0, 3.5, math.nan, math.inf]))
    torch.testing.assert_close(
        p, torch.tensor([4 / 5, 2 / 5, 1 / 5, math.nan, 1 / 5]).double(), equal_nan=True
    )
    assert q_values(p).isnan().tolist() == [False, False, False, True, False]
