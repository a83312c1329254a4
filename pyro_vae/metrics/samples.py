"""Samples as metrics compare them: features of each, checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyro_vae.errors import InputError
from pyro_vae.metrics.arrays import Array, as_matrix, half_of
from pyro_vae.metrics.features.features import Features
from pyro_vae.metrics.value import MetricValue, scored


@dataclass(frozen=True)
class Samples:
    """Hold samples of rows with the same features, (N, D) each, by what they are.

    >>> len(Samples({"real": np.zeros((5, 2)), "generated": np.zeros((4, 2))}))
    4
    """

    arrays: Mapping[str, Array]

    def __len__(self) -> int:
        return min(map(len, self.arrays.values()))

    def half(self, noise: np.random.Generator) -> "Samples":
        """Return half of each sample, at random; the same rows of samples of the same length.

        So the figure is also right where rows belong together, such as draws given the covariates of a row.
        """
        sizes = dict.fromkeys(map(len, self.arrays.values()))
        halves = {size: half_of(size, noise) for size in sizes}
        return Samples({name: x[halves[len(x)]] for name, x in self.arrays.items()})


def as_samples(
    given: Mapping[str, Any], features: Features | None = None, least: int = 4
) -> Samples:
    """Return samples, checked; rows of several dimensions are laid out as one.

    Args:
        given: rows, by what they are.
        features: of these; by default they are features already.
        least: how many rows the metric needs of each.

    Raises:
        InputError: a value is not finite, the rows are too few, or have other features.
    """
    arrays = {name: as_features(name, values, features) for name, values in given.items()}
    first, width = next((name, x.shape[1]) for name, x in arrays.items())
    for name, x in arrays.items():
        if x.shape[1] != width:
            raise InputError(
                f"{first} has {width:,} features, and {name} has {x.shape[1]:,}",
                subject=name,
                expected="the same features of all samples",
            )
        if len(x) < least:
            raise InputError(
                f"{name} has {len(x)} rows", subject=name, expected=f"{least} rows or more"
            )
    return Samples(arrays)


def as_features(name: str, values: Any, features: Features | None) -> Array:
    """Return the features of rows, (N, D).

    Raises:
        InputError: they are no array of finite numbers.
    """
    if features is not None and not isinstance(features, Features):
        raise InputError(
            f"features is a {type(features).__name__}",
            subject="features",
            expected="a Features object",
            remedy="wrap a module: ModuleFeatures(module)",
        )
    found = values if features is None else features(values)
    if getattr(found, "ndim", 0) > 2:
        found = found.reshape(len(found), -1)
    return as_matrix(name if features is None else f"the features of {name}", found)


def full_name(name: str, features: Features | None) -> str:
    """Return the name of a metric with that of the features that it compares."""
    return name if features is None else f"{name} [{features.name}]"


def score_samples(
    name: str,
    compute: Callable[..., tuple[float, Mapping[str, Array]]],
    given: Mapping[str, Any],
    features: Features | None,
    num_splits: int,
    seed: int,
    *,
    least: int = 4,
    is_unbiased: bool = False,
    notes: Callable[[Samples], tuple[str, ...]] = lambda _: (),
) -> MetricValue:
    """Return a metric of samples with its error and its bias, and the features in its name.

    Args:
        name: of the metric.
        compute: the metric and its parts, of the samples' features in the order of ``given``.
        given: rows, by what they are.
        features: of these; by default they are features already.
        num_splits: random halves, for the error.
        seed: of these.
        least: how many rows the metric needs of each.
        is_unbiased: whether the expectation does not depend on the number of rows.
        notes: on the samples.

    Raises:
        InputError: the arrays do not fit.
    """
    samples = as_samples(given, features, least)

    def of(some: Samples, _: np.random.Generator) -> tuple[float, Mapping[str, Array]]:
        return compute(*some.arrays.values())

    full, about = full_name(name, features), notes(samples)
    return scored(full, of, samples, num_splits, seed, is_unbiased=is_unbiased, notes=about)
