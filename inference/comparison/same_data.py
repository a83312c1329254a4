"""Whether evidences can be compared: of the same values, scored in the same way, by the same units."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.comparison.lineup import Candidate, quoted
from pyro_vae.inference.evidence.observed_values import (
    DENSITIES,
    FACTORS,
    FINGERPRINT,
    OF_PROBABILITIES,
    PROBABILITIES,
    SQUARES,
    SUM,
    merged,
)

ONE_FIGURE = "pass joint=True (--joint) to compare log p(all data), which both have"


def check_comparable(candidates: Sequence[Candidate], joint: bool) -> tuple[str, ...]:
    """Check that the evidences are of the same data, and return notes on what could not be checked.

    Args:
        candidates: the models.
        joint: whether evidences of different units are compared by their totals.

    Raises:
        InputError: one is of simulated data; they are of other values, or of densities in other units; or
            their units differ and ``joint`` is not given.
    """
    for candidate in candidates:
        _check_one(candidate)
    known = [c for c in candidates if _is_known(c)]
    for other in known[1:]:
        _check_values(known[0], other)
    if not joint:
        for other in candidates[1:]:
            _check_units(candidates[0], other)
    return _unchecked(candidates)


def _check_one(candidate: Candidate) -> None:
    if candidate.evidence.simulated:
        raise InputError(
            f"the evidence of {candidate.name!r} is of data that the model has drawn itself",
            subject=candidate.name,
            remedy="use another method than 'bidirectional'",
        )
    if math.isnan(candidate.total):
        raise InputError(
            f"the evidence of {candidate.name!r} is NaN, so it cannot be compared",
            subject=candidate.name,
            remedy="print(log_evidence(...)) says which rows have none, and why",
        )


def _is_known(candidate: Candidate) -> bool:
    """Return whether it is known what the model observed."""
    facts = candidate.evidence.observed
    return bool(facts) and int(facts[PROBABILITIES].sum() + facts[DENSITIES].sum()) > 0


def _check_values(one: Candidate, other: Candidate) -> None:
    """Check that two models observed the same values, and score them alike."""
    facts = tuple(_whole(candidate) for candidate in (one, other))
    names = quoted((one.name, other.name))
    counts = [f[PROBABILITIES] + f[DENSITIES] for f in facts]
    if counts[0] != counts[1]:
        raise InputError(
            f"{one.name!r} is of {counts[0]:,.0f} observed values and {other.name!r} of {counts[1]:,.0f}",
            subject=other.name,
            expected="evidences of the same data",
            remedy="give all models the same rows; a mask or a missing value leaves a value out",
        )
    if facts[0][PROBABILITIES] != facts[1][PROBABILITIES]:
        described = " and ".join(
            f"{c.name!r} {_scoring(f)}" for c, f in zip((one, other), facts, strict=True)
        )
        raise InputError(
            f"{described}: a probability has no unit and a density has that of the data, so they cannot "
            "be compared",
            subject=other.name,
            remedy="compare models whose likelihoods are all discrete, or all continuous",
        )
    if facts[0][FINGERPRINT] == facts[1][FINGERPRINT]:
        if facts[0][OF_PROBABILITIES] != facts[1][OF_PROBABILITIES]:
            raise InputError(
                f"{names} score different values by probabilities and by densities",
                subject=other.name,
                expected="each value scored by a density in all models, or by a probability in all",
            )
    else:
        described = " and ".join(
            f"those of {c.name!r} {_moments(f)}" for c, f in zip((one, other), facts, strict=True)
        )
        raise InputError(
            f"the observed values of {names} differ: {described}",
            subject=other.name,
            expected="evidences of the same data in the same units",
            remedy="give all models the same tensor; if one was standardised, standardise it for all",
        )


def _scoring(facts: Mapping[str, float]) -> str:
    """Return in words how a model scores its data."""
    if not facts[DENSITIES]:
        return "gives probabilities of discrete values"
    if not facts[PROBABILITIES]:
        return "gives densities"
    return (
        f"gives {facts[PROBABILITIES]:,.0f} probabilities of discrete values and "
        f"{facts[DENSITIES]:,.0f} densities"
    )


def _moments(facts: Mapping[str, float]) -> str:
    count = facts[PROBABILITIES] + facts[DENSITIES]
    mean = facts[SUM] / count
    sd = math.sqrt(max(0.0, facts[SQUARES] / count - mean**2))
    return f"have mean {mean:.6g} and sd {sd:.6g}"


def _whole(candidate: Candidate) -> dict[str, float]:
    return {name: v.item() for name, v in merged(candidate.evidence.observed).items()}


def _check_units(one: Candidate, other: Candidate) -> None:
    """Check that two evidences are both joint, or of the same rows in one order."""
    first, second = one.evidence, other.evidence
    if (first.unit is None) != (second.unit is None):
        whole, by_row = (one, other) if first.unit is None else (other, one)
        raise InputError(
            f"the evidence of {whole.name!r} is one joint figure of all data and that of {by_row.name!r} "
            f"has {by_row.evidence.num_units:,} figures, one a row (plate {by_row.evidence.unit!r}), so "
            "their means cannot be compared",
            subject=other.name,
            remedy=ONE_FIGURE,
        )
    if first.num_units != second.num_units:
        raise InputError(
            f"the evidence of {one.name!r} is of {first.num_units:,} units and that of {other.name!r} of "
            f"{second.num_units:,}",
            subject=other.name,
            expected="evidences of the same rows",
            remedy=f"give all models the same rows; if other plates cut the same data, {ONE_FIGURE}",
        )
    rows = [e.observed.get(FINGERPRINT) for e in (first, second)]
    if _is_known(one) and _is_known(other) and not _equal(*rows):
        raise InputError(
            f"{one.name!r} and {other.name!r} have the same values in another order of the rows",
            subject=other.name,
            expected="the same rows in the same order",
            remedy=ONE_FIGURE,
        )


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)


def _unchecked(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Return a note on the models of which it is not known what they observed."""
    unknown = [c.name for c in candidates if not _is_known(c)]
    notes = []
    if len(unknown) == len(candidates):
        notes.append(
            "it was not checked that the evidences are of the same data: they do not say what they observed"
        )
    elif unknown:
        notes.append(
            f"it was not checked that {quoted(unknown)} {_are(unknown)} of the same data as the others: "
            "their evidence does not say what it observed"
        )
    scored = [c.name for c in candidates if _is_known(c) and int(_whole(c)[FACTORS]) > 0]
    if scored and len(scored) < len(candidates):
        notes.append(
            f"{quoted(scored)} {'have' if len(scored) > 1 else 'has'} `pyro.factor` statements, which may "
            "score data that the others do not have, or leave a constant out"
        )
    return tuple(notes)


def _are(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"
