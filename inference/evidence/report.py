"""An evidence in words, for a paper."""

import math
import textwrap
from collections.abc import Iterator

from torch import Tensor

from pyro_vae.inference.evidence.missed_copies import is_of_a_part
from pyro_vae.inference.evidence.psis import smallest_for_k
from pyro_vae.inference.evidence.result import Evidence, mean_error
from pyro_vae.inference.evidence.standard_error import (
    MAX_JOINT_ERROR,
    MIN_ESS,
    MIN_FOR_TAIL,
    MIN_WEIGHTS,
)
from pyro_vae.notebook import table

WIDTH = 100
HARDLY_VARY = 1e-3  # nats; with errors below it, k is that of rounding
Row = tuple[str, str]


def summary(evidence: Evidence) -> str:
    """Return a table of the figures, with notes and warnings below it."""
    rows = _rows(evidence)
    width = max(len(name) for name, _ in rows) + 2
    lines = [line for row in rows for line in _wrapped(*row, width)]
    texts = (*evidence.notes, *warning_messages(evidence))
    return "\n".join([*lines, *(textwrap.fill(text, WIDTH) for text in texts)])


def html(evidence: Evidence) -> str:
    """Return the same for a notebook."""
    texts = (*evidence.notes, *warning_messages(evidence))
    return table(((name.strip(), value) for name, value in _rows(evidence)), notes=texts)


def in_a_line(evidence: Evidence) -> str:
    """Return the figure of all data with its error, and how it was made."""
    (name, figure), *_ = _total_rows(evidence)
    return f"{name}: {figure}; {dict(_method_rows(evidence))['method']}"


def _rows(evidence: Evidence) -> list[Row]:
    return [
        *_total_rows(evidence),
        *_k_row(evidence),
        *_to_report(evidence),
        *_upper_rows(evidence),
        *_method_rows(evidence),
    ]


def warning_messages(evidence: Evidence) -> list[str]:
    """Return the reasons to distrust the figures, in sentences."""
    return [
        *_not_finite(evidence),
        *_without_error(evidence),
        *_without_k(evidence),
        *_crossed(evidence),
        *_negative_bits(evidence),
    ]


def _not_finite(evidence: Evidence) -> Iterator[str]:
    for weights, figure, units in (
        ("NaN weights", "they have no figure", evidence.log_evidence.isnan()),
        ("no weight above 0", "their figure is minus infinity", evidence.log_evidence == -math.inf),
    ):
        if units.any():
            yield (
                f"{int(units.sum()):,} of {len(units):,} units have {weights} (the first is unit "
                f"{int(units.nonzero()[0])}): {figure}, so the whole has none"
            )


def _without_error(evidence: Evidence) -> Iterator[str]:
    """Name the units whose figures have no error, the reason, and the mean without them."""
    is_bad, units = evidence.without_error, evidence.num_units
    if not is_bad.any() or evidence.num_particles == 1 or is_of_a_part(evidence):
        return  # of a part of the copies a note tells
    if evidence.num_particles < MIN_WEIGHTS:
        yield f"K = {evidence.num_particles} weights have no error: it takes at least {MIN_WEIGHTS}"
        return
    is_heavy = is_bad & (evidence.pareto_k > evidence.bad_k)
    reasons = []
    if is_heavy.any():
        reasons.append(f"{_count(is_heavy, units)} a Pareto k above {evidence.bad_k:.2g}")
    is_few = is_bad & ~is_heavy
    if evidence.num_particles >= MIN_FOR_TAIL:
        is_wide = is_few & (evidence.ess >= MIN_ESS)
        is_few = is_few & ~is_wide
        if is_wide.any():
            reasons.append(
                f"{_count(is_wide, units)} a tail that may hold much of the mean (an error above "
                f"{MAX_JOINT_ERROR:g} nats)"
            )
    if is_few.any():
        ess = float(evidence.ess[is_few].median())
        reasons.append(
            f"{_count(is_few, units)} too few effective weights, {ess:.1f}{' in the median' * (units > 1)}"
        )
    figures = "their figures, which are" if units > 1 else "the figure, which is"
    text = f"{' and '.join(reasons)}: a few weights decide {figures} probably too low, by an unknown amount"
    text += ". They have no error" if units > 1 else ", and has no error"
    if units > 1:
        text += f" (the first is unit {int(is_bad.nonzero()[0])}), so the mean has none"
    text += ". "
    has_error = evidence.standard_error.isfinite()
    if has_error.any():
        digits = digits_of(error := mean_error(evidence.standard_error[has_error]))
        mean = float(evidence.log_evidence[has_error].mean())
        text += f"Without these units it is {mean:.{digits}f} {plus_minus(error)}. "
    if evidence.is_unbiased:
        text += "The certificate still holds. "
    yield text + "More particles, a wider proposal or annealing (at more temperatures) help"


def _count(units: Tensor, num_units: int) -> str:
    return (
        f"{int(units.sum()):,} of {num_units:,} units have" if num_units > 1 else "the weights have"
    )


def _without_k(evidence: Evidence) -> Iterator[str]:
    is_few = (
        evidence.num_particles < smallest_for_k()
    )  # SMC and bridges have no weights of this kind
    if is_few and evidence.pareto_k.isnan().all() and evidence.bad_units < evidence.num_units:
        yield (
            "a unit has too few weights to show how heavy their tail is (Pareto k needs at least "
            f"{smallest_for_k()}): the errors assume log-normal weights, as those of annealing nearly are"
        )


def _crossed(evidence: Evidence) -> Iterator[str]:
    if evidence.upper is None or not evidence.mean_gap < 0:
        return
    if -evidence.mean_gap < 2 * evidence.mean_gap_error:
        yield "the upper figure is below the lower one, by no more than their errors"
    else:
        yield (
            f"the upper figure is {-evidence.mean_gap:.3g} nats below the lower one, so it bounds nothing. "
            "The chains are far from the posterior, at either end: more temperatures help"
        )


def _negative_bits(evidence: Evidence) -> Iterator[str]:
    if evidence.bits_per_dimension < 0:
        yield (
            "bits per dimension below 0 are those of a density: at values that recur, such as zeros and "
            "grey levels, it can grow without bound. A likelihood of levels, such as DiscretizedLogistic, "
            "gives probabilities"
        )


def _total_rows(evidence: Evidence) -> Iterator[Row]:
    """Say what people publish: log p(data), then the mean of the units."""
    units, error = evidence.num_units, evidence.mean_standard_error
    origin = " drawn from the model" if evidence.simulated else ""
    of = f"all {units:,} unit{'s' * (units > 1)}{origin}" if evidence.unit else "all data together"
    yield f"log p(data), {of}", _nats(evidence.total, error * units, evidence, is_first=True)
    if evidence.unit:
        yield f"mean of a unit (plate {evidence.unit!r})", _nats(evidence.mean, error, evidence)
    if units > 1:
        yield "  sampling error, of the data", plus_minus(evidence.sampling_error)
    if evidence.values_per_unit:
        yield "bits per dimension", f"{evidence.bits_per_dimension:.4f}"
    is_certified = evidence.is_unbiased and not evidence.is_exact and math.isfinite(evidence.mean)
    if is_certified and not evidence.simulated:
        least = evidence.certificate()
        of_units = f", {least:.{digits_of(error)}f} a unit" if units > 1 else ""
        text = f"at least {least * units:.{digits_of(error * units)}f} nats{of_units}"
        yield "certified, with probability 95%", text


def _nats(value: float, error: float, evidence: Evidence, is_first: bool = False) -> str:
    """Return a figure with its Monte-Carlo error."""
    shown = f"{value:.{digits_of(error)}f}"
    if evidence.is_exact:
        return f"{shown} nats, exactly"
    if evidence.num_particles == 1:
        return f"{shown} nats, from a single draw"
    if math.isnan(error):
        return f"{shown} nats ± unknown"
    return f"{shown} {plus_minus(error)} nats" + " (Monte-Carlo error)" * is_first


def _k_row(evidence: Evidence) -> Iterator[Row]:
    """Say how heavy the tails of the weights are, whatever they are."""
    if evidence.is_exact:
        return
    k = evidence.pareto_k[~evidence.pareto_k.isnan()]
    if bool((evidence.standard_error < HARDLY_VARY).all()):
        yield "Pareto k", "does not matter here: the weights hardly vary"
        return
    if not len(k):
        yield "Pareto k", f"unknown: it takes at least K = {smallest_for_k()} weights"
        return
    high, limit = float(k.max()), f"{evidence.bad_k:.2g}"
    largest = f"{high:.2f}" if math.isfinite(high) else ("flat tail" if high < 0 else "infinite")
    if evidence.num_units == 1:
        yield "Pareto k", f"{largest}; good up to {limit} at this K"
        return
    middle = float(k.median())
    median = f"median {middle:.2f}, " if math.isfinite(middle) else ""
    above = int((k > evidence.bad_k).sum())
    yield (
        "Pareto k",
        (
            f"{median}largest {largest}; {above:,} of {evidence.num_units:,} units above {limit}, the "
            "limit at this K"
        ),
    )


def _to_report(evidence: Evidence) -> Iterator[Row]:
    """Say which of the figures to report."""
    if evidence.is_exact or not math.isfinite(evidence.mean):
        return
    if evidence.simulated:
        text = "the certified interval: how near the method comes, on data that the model draws"
    elif evidence.num_particles < MIN_WEIGHTS:
        text = "log p(data) as a lower bound: more particles make it an estimate"
    elif evidence.bad_units and evidence.is_unbiased:
        text = "the certified figure, as a lower bound: no estimate here has an error that can be trusted"
    elif evidence.bad_units:
        text = "none yet: no estimate here has an error that can be trusted"
    elif evidence.upper is not None:
        text = "log p(data) with its error, and the gap to the upper figure"
    else:
        text = f"log p(data) with its error, K and the method. {_others(evidence)}".rstrip()
    yield "to report", text


def _others(evidence: Evidence) -> str:
    """Say whether the jackknife and the Pareto-smoothed figure agree with the estimate."""
    named = (
        ("the jackknife", evidence.jackknife),
        ("the Pareto-smoothed figure", evidence.smoothed),
    )
    others = {name: x for name, x in named if x is not None and not x.isnan().any()}
    if not others:
        return ""
    far = [n for n, x in others.items() if _is_far(evidence, float(x.mean()))]
    if far:
        return (
            f"But {' and '.join(far)} differ{'s' * (len(far) == 1)} from it by more than two errors: take "
            "more particles until they agree"
        )
    names = " and ".join(others)
    agree = "agree" if len(others) > 1 else "agrees"
    return f"{names[0].upper()}{names[1:]} {agree} with it within its error"


def _is_far(evidence: Evidence, other: float) -> bool:
    return abs(other - evidence.mean) > 2 * evidence.mean_standard_error + 1e-6 * abs(evidence.mean)


def _upper_rows(evidence: Evidence) -> Iterator[Row]:
    if evidence.upper is None or evidence.upper_error is None:
        return
    error = evidence.mean_gap_error
    below, above = float(evidence.log_evidence.mean()), float(evidence.upper.mean())
    upper_error = float(evidence.upper_error.square().sum().sqrt()) / evidence.num_units
    digits = digits_of(error)
    yield (
        "lower bound, in expectation",
        f"{below:.{digits}f} {plus_minus(evidence.mean_standard_error)}",
    )
    name = "upper bound, in expectation" if evidence.simulated else "upper estimate (no bound)"
    yield name, f"{above:.{digits}f} {plus_minus(upper_error)}"
    yield "gap", f"{evidence.mean_gap:.{digits}f} {plus_minus(error)} nats"
    if evidence.simulated:
        low, high = evidence.interval()
        yield "certified, with probability 95%", f"{low:.{digits}f} to {high:.{digits}f} nats"
    for figure, value in evidence.indicative.items():
        yield f"{figure} (indicative)", f"{float(value.mean()):.{digits}f}"


def _method_rows(evidence: Evidence) -> Iterator[Row]:
    if evidence.is_exact:
        yield "method", evidence.method
        return
    digits = digits_of(evidence.mean_standard_error)
    for k, bound in evidence.bounds.items():
        yield f"bound at K = {k:,}", _figure(bound, digits)
    for name, value in (("jackknife", evidence.jackknife), ("Pareto-smoothed", evidence.smoothed)):
        if value is not None and not value.isnan().any():
            yield name, _figure(value, digits)
    yield "method", f"K = {evidence.num_particles:,}: {evidence.method}"
    yield "effective sample size, median", f"{float(evidence.ess.nanmedian()):,.1f}"


def digits_of(error: float) -> int:
    """Return how many digits show an error to two places.

    >>> digits_of(0.0123), digits_of(12.3), digits_of(float("nan"))
    (3, 1, 3)
    """
    if not math.isfinite(error) or error <= 0:
        return 3
    return min(6, max(1, 1 - math.floor(math.log10(error))))


def plus_minus(error: float, digits: int | None = None) -> str:
    """Return an error with its sign, to two places by default.

    >>> plus_minus(0.0123)
    '± 0.012'
    """
    if math.isnan(error):
        return "± unknown"
    return f"± {error:.{digits_of(error) if digits is None else digits}f}"


def _figure(values: Tensor, digits: int) -> str:
    return f"{float(values.mean()):.{digits}f}"


def _wrapped(name: str, value: str, width: int) -> list[str]:
    first, *rest = textwrap.wrap(value, max(30, WIDTH - width), break_on_hyphens=False) or [""]
    return [f"{name:{width}}{first}", *(" " * width + line for line in rest)]
