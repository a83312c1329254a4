"""What made-up rows are worth to a classifier: trained on them, tested on real rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pyro_vae.data import Column
from pyro_vae.errors import InputError
from pyro_vae.inference.synthesis.features import Features, Values


@dataclass(frozen=True)
class Utility:
    """Hold how well a classifier does on held-out rows.

    Attributes:
        classifier: its name.
        real: F1 after training on the real rows: of the rarer class where there are two, otherwise the mean
            over the classes.
        made: F1 after training on the made-up rows.
        real_accuracy: share of the held-out rows that are right, likewise.
        made_accuracy: likewise.
    """

    classifier: str
    real: float
    made: float
    real_accuracy: float
    made_accuracy: float

    @property
    def ratio(self) -> float:
        """F1 of the made-up rows over that of the real ones."""
        return self.made / self.real if self.real else float("nan")


def utilities(
    columns: tuple[Column, ...],
    target: str,
    real: Values,
    made: Values,
    test: Values,
    seed: int = 0,
) -> list[Utility]:
    """Return the utility of made-up rows for gradient boosting and logistic regression.

    Raises:
        InputError: the target is no categorical column, or has one class in the training rows.
    """
    place = target_place(columns, target)
    sets = [x[~np.isnan(x[:, place])] for x in (real, made, test)]
    y = [x[:, place].astype(int) for x in sets]
    if not len(y[1]):
        raise InputError(
            f"no made-up row has a value in column {target!r}",
            subject="target",
            remedy="name another column",
        )
    if len(set(y[0])) < 2:
        raise InputError(
            f"all training rows have one class in column {target!r}, so nothing can be learnt",
            subject="target",
            remedy="name another column",
        )
    others = tuple(c for i, c in enumerate(columns) if i != place)
    x = [np.delete(part, place, 1) for part in sets]
    features = Features.of(x[0], others)
    found = []
    for name, inputs, model in (
        ("gradient boosting", x, _boosting(others, seed)),
        ("logistic regression", [features(part) for part in x], _logistic(seed)),
    ):
        guesses = [_guess(model, inputs[i], y[i], inputs[2]) for i in (0, 1)]
        f1 = [_f1(y[0], y[2], guess) for guess in guesses]
        accuracy = [float((guess == y[2]).mean()) for guess in guesses]
        found.append(Utility(name, *f1, *accuracy))
    return found


def _guess(model: Any, x: Values, y: Values, test: Values) -> Values:
    """Return the classes of the test rows; where all rows have one class, that one."""
    if len(set(y)) == 1:
        return np.full(len(test), y[0])
    guessed: Values = model.fit(x, y).predict(test)
    return guessed


def target_place(columns: tuple[Column, ...], target: str) -> int:
    """Return the number of the column that is to be predicted.

    Raises:
        InputError: there is none of this name, or it holds numbers.
    """
    names = [column.name for column in columns if column.num_categories]
    if target not in names:
        raise InputError(
            f"{target!r} is no column of categories",
            subject="target",
            expected=f"one of {', '.join(names)}"
            if names
            else "a table with a column of categories",
        )
    return [column.name for column in columns].index(target)


def _f1(train: Values, truth: Values, guess: Values) -> float:
    from sklearn.metrics import f1_score

    classes, counts = np.unique(train, return_counts=True)
    if len(classes) != 2:
        return float(f1_score(truth, guess, average="macro", zero_division=0))
    return float(f1_score(truth, guess, pos_label=classes[counts.argmin()], zero_division=0))


def _boosting(columns: tuple[Column, ...], seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    nominal = [i for i, c in enumerate(columns) if c.categories and 2 < c.num_categories < 255]
    return HistGradientBoostingClassifier(categorical_features=nominal or None, random_state=seed)


def _logistic(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000, random_state=seed)
