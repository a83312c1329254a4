"""``pyro-vae parameters`` of a 2PL model, against marginal maximum likelihood by numpy and scipy."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logsumexp
from stories import RNG

from pyro_vae import open_run

PEOPLE, ITEMS, GAPS = 500, 12, 0.05


def answers() -> np.ndarray:
    a, b = 1.2 * np.exp(0.3 * RNG.normal(size=ITEMS)), RNG.normal(size=ITEMS)
    x = (RNG.random((PEOPLE, ITEMS)) < expit(a * (RNG.normal(size=(PEOPLE, 1)) - b))).astype(float)
    return np.where(RNG.random(x.shape) < GAPS, np.nan, x)


class Marginal:
    """The log-likelihood of a and b, in p(x = 1) = sigmoid(a (z - b)), on a grid of z."""

    def __init__(self, x: np.ndarray) -> None:
        self.z = np.linspace(-8, 8, 129)
        self.log_prior = -(self.z**2) / 2 - np.log(2 * np.pi) / 2 + np.log(self.z[1] - self.z[0])
        self.seen, self.x = ~np.isnan(x), np.nan_to_num(x)

    def lost(self, at: np.ndarray) -> tuple[float, np.ndarray]:
        """Return minus the log-likelihood, and its gradient."""
        a, b = np.split(at, 2)
        eta = a * (self.z[:, None] - b)  # (Z, I)
        right, wrong = self.x * self.seen, (1 - self.x) * self.seen
        log_joint = right @ log_expit(eta).T + wrong @ log_expit(-eta).T + self.log_prior  # (N, Z)
        log_p = logsumexp(log_joint, 1, keepdims=True)
        shares = np.exp(log_joint - log_p)
        by_eta = shares.T @ right - (shares.T @ self.seen) * expit(eta)  # (Z, I)
        by_a, by_b = (by_eta * (self.z[:, None] - b)).sum(0), -(by_eta * a).sum(0)
        return -float(log_p.sum()), -np.concatenate([by_a, by_b])

    def fit(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the estimates of a and b, and their standard errors."""
        start = np.repeat([1.0, 0.0], ITEMS)
        at = minimize(self.lost, start, jac=True, method="BFGS", options={"gtol": 1e-6}).x
        steps = 1e-5 * np.eye(2 * ITEMS)
        hessian = np.stack([self.lost(at + h)[1] - self.lost(at - h)[1] for h in steps]) / 2e-5
        return at, np.linalg.inv((hessian + hessian.T) / 2).diagonal() ** 0.5


@pytest.mark.parametrize(
    "options", ["--epochs 20", pytest.param("", marks=pytest.mark.slow)], ids=["short", "default"]
)
def test_items_are_those_of_marginal_maximum_likelihood(options: str, call, here) -> None:
    names = ",".join(f"q{i}" for i in range(ITEMS))
    text = np.array2string(answers(), separator=",", threshold=10**6, max_line_width=10**6)
    rows = text.replace("[", "").replace("],", "").replace("]", "").replace("nan", "")
    Path("answers.csv").write_text(f"{names}\n{rows}\n", encoding="utf-8")
    fitted = call(f"fit --model ItemResponse --data answers.csv {options} --out runs/answers")
    assert fitted.code == 0, fitted.err
    outcome = call("parameters runs/answers --out items.csv")
    assert outcome.code == 0, outcome.err
    assert "quadrature" in outcome.out
    with open("items.csv", newline="", encoding="utf-8") as file:
        table = {row["parameter"]: row for row in csv.DictReader(file)}
    x = open_run("runs/answers")[1].train.x.numpy()
    expected, errors = Marginal(x).fit()
    labels = [f"item.discrimination[{i}, 0]" for i in range(ITEMS)]
    labels += [f"item.difficulty[{i}]" for i in range(ITEMS)]
    found = np.array([float(table[label]["estimate"]) for label in labels])
    found_errors = np.array([float(table[label]["se"]) for label in labels])
    if found[0] < 0:  # a trait has two directions
        found = -found
    assert np.abs(found - expected).max() < 0.01 * errors.min()
    assert found_errors == pytest.approx(errors, rel=0.01)
