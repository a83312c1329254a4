"""Scores in scikit-learn's form, for its pipelines and PyOD's."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.scoring.by import Score
from pyro_vae.inference.scoring.calibration import Calibration
from pyro_vae.inference.scoring.rows import Rows
from pyro_vae.inference.scoring.score import as_reference, method_for
from pyro_vae.inference.scoring.surprise import Surprise
from pyro_vae.inference.svi.fit import fit
from pyro_vae.models import ExemplarDensity
from pyro_vae.program.contract import as_program

Array = NDArray[Any]
MOST_ROWS = 5000  # that the default program is fitted to: its exemplars
# one parameter: it is at its optimum after few steps
EXEMPLAR_FIT: Mapping[str, Any] = {
    "steps": 80,
    "batch_size": 128,
    "optimizer": partial(torch.optim.Adam, lr=0.1),
}


class AnomalyDetector(OutlierMixin, BaseEstimator):
    """Detect anomalies in a table by how strange a program finds them.

    ``fit`` takes normal rows. It holds some of them out, fits the program to the others, and sets the
    threshold by the scores of those held out: at most ``false_alarms`` of new normal rows are flagged.
    With too few held-out rows for that rate (below 1 / false_alarms - 1), the threshold is their largest
    score. The signs are scikit-learn's: ``score_samples`` is minus the score, so larger is more normal,
    and ``predict`` gives -1 for anomalies and 1 for the others.

    Args:
        program: makes the model and guide from the shape of a row, as a class of the shelf does; by
            default :class:`pyro_vae.models.ExemplarDensity`.
        by: the score, by default ``Surprise()``.
        fit_options: further arguments of :func:`pyro_vae.fit`, by name.
        false_alarms: the share of normal rows that is flagged.
        held_out: the share of the rows of ``fit`` that sets the threshold.
        num_particles: K of the evidence; by default that of its method.
        random_state: a seed, a whole number.
        device: where to compute.

    Attributes:
        program_: the fitted program.
        offset_: the threshold, as a value of ``score_samples``.

    >>> rows = np.random.default_rng(0).normal(size=(300, 2))
    >>> detector = AnomalyDetector().fit(rows)
    >>> detector.predict([[0.1, -0.2], [7.0, 7.0]]).tolist()
    [1, -1]
    """

    def __init__(
        self,
        program: Callable[[tuple[int, ...]], Any] | None = None,
        by: Score | None = None,
        fit_options: Mapping[str, Any] | None = None,
        false_alarms: float = 0.05,
        held_out: float = 0.2,
        num_particles: int | None = None,
        random_state: int = 0,
        device: str = "auto",
    ) -> None:
        self.program, self.by, self.fit_options = program, by, fit_options
        self.false_alarms, self.held_out = false_alarms, held_out
        self.num_particles, self.random_state, self.device = num_particles, random_state, device

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the program to normal rows ``X``, (rows, columns); ``y`` is ignored.

        Raises:
            ValueError: the rows are not numbers in a table, or fewer than 2.
        """
        X = validate_data(
            self, X, dtype="numeric", ensure_all_finite="allow-nan", ensure_min_samples=2
        )
        if self.num_particles is not None:
            at_least_1("num_particles", self.num_particles)
        self._check_options()
        # far from 0, float32 tells few numbers apart; where it is 0 makes no difference to exemplars
        centre = np.zeros(X.shape[1]) if self.program is not None else _means(X)
        self._centre = centre
        rows = self._tensor(X)
        seed = self._seed
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        count = min(max(1, round(self.held_out * len(rows))), len(rows) - 1)
        held_out, train = rows[order[:count]], rows[order[count:]]
        self.program_ = self._fitted(train, seed)
        by = self._score
        self._learnt = None
        if by.learns:  # from one half; the other calibrates
            if len(held_out) < 2:
                raise InputError(
                    f"{type(by).__name__} learns from one half of the held-out rows and calibrates on the "
                    "other, and there is one row",
                    subject="held_out",
                    remedy="pass more rows, or a larger share",
                )
            first, held_out = held_out.tensor_split(2)
            self._learnt = by.learn(self._rows(first))
        calibration = Calibration(as_reference(self._scores(held_out)))
        threshold = calibration.threshold(self.false_alarms)
        if math.isinf(threshold):
            threshold = float(calibration.scores.max())
        self.offset_ = -threshold
        return self

    def _check_options(self) -> None:
        for name in ("held_out", "false_alarms"):
            if not 0 < checks.number(name, getattr(self, name)) < 1:
                raise InputError(
                    f"{name} is {getattr(self, name)}",
                    subject=name,
                    expected="a share between 0 and 1",
                )
        checks.optional(checks.instance(Score, "a Score"))("by", self.by)
        checks.optional(checks.seed)("random_state", self.random_state)

    def _tensor(self, X: Any) -> Tensor:
        return torch.as_tensor(np.asarray(X - self._centre, dtype=np.float32))

    @property
    def _seed(self) -> int:
        return 0 if self.random_state is None else int(self.random_state)

    def _fitted(self, train: Tensor, seed: int) -> Any:
        columns = (train.shape[1],)
        options: dict[str, Any] = {"progress": False, "seed": seed, "device": self.device}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.program is None:
                train, options = train[:MOST_ROWS], {**options, **EXEMPLAR_FIT}
                made: Any = ExemplarDensity(columns, num_exemplars=len(train))
            else:
                made = self.program(columns)
            return fit(made, train, **{**options, **(self.fit_options or {})}).program

    @property
    def _score(self) -> Score:
        return Surprise() if self.by is None else self.by

    def _rows(self, rows: Tensor) -> Rows:
        program = as_program(self.program_)
        method = method_for(program)
        count = method.num_particles if self.num_particles is None else self.num_particles
        return Rows(program, rows, method, count, self._seed, self.device, False, with_shares=False)

    def _scores(self, rows: Tensor) -> Tensor:
        return self._score.figures(self._rows(rows), self._learnt).scores.double().cpu()

    def score_samples(self, X: Any) -> Array:
        """Return minus the score of each row: larger is more normal."""
        check_is_fitted(self, "program_")
        X = validate_data(self, X, reset=False, dtype="numeric", ensure_all_finite="allow-nan")
        scores: Array = -self._scores(self._tensor(X)).numpy()
        return scores

    def decision_function(self, X: Any) -> Array:
        """Return ``score_samples`` less the threshold: negative for anomalies."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Array:
        """Return -1 for anomalies and 1 for the others."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _means(X: Array) -> Array:
    """Return the mean of each column, of the cells that are there."""
    count = (~np.isnan(X)).sum(0)
    means: Array = np.nansum(X, 0, dtype=float) / np.maximum(1, count)
    return means
