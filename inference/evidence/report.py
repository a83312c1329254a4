"""An evidence in words, as one would put it into a paper."""

import math
import textwrap
from collections.abc import Iterator

from torch import Tensor

from pyro_vae.inference.evidence.result import Evidence, mean_error
from pyro_vae.inference.evidence.standard_error import FEWEST

WIDTH = 100
Row = tuple[str, str]
ALONE = ", from a single draw"


def summary(evidence: Evidence) -> str:
    """A table of the figures, and below it what stands against them, in sentences."""
    rows = [*_mean_rows(evidence), *_rows_from_above(evidence), *_rows_of_draws(evidence)]
    width = max(len(name) for name, _ in rows) + 2
    lines = [line for row in rows for line in _wrapped(*row, width)]
    said = (textwrap.fill(text, WIDTH) for text in (*evidence.notes, *warnings(evidence)))
    return "\n".join([*lines, *said])


def warnings(evidence: Evidence) -> list[str]:
    """What stands against the figures."""
    units = evidence.units
    said = []
    for what, why, is_so in (
        ("NaN weights", "there is no figure for them", evidence.log_evidence.isnan()),
        ("no weight above 0", "their figure is minus infinity", evidence.log_evidence == -math.inf),
    ):
        if is_so.any():
            first = int(is_so.nonzero()[0])
            said.append(
                f"{int(is_so.sum()):,} of {units:,} units have {what} (the first is unit {first}): {why}, "
                "and so none for the whole"
            )
    return [
        *said,
        *_without_error(evidence),
        *_without_k(evidence),
        *_crossed(evidence),
        *_of_a_density(evidence),
    ]


def _without_error(evidence: Evidence) -> Iterator[str]:
    """Whose figures have no honest error, why, and what is left without them."""
    lost, units = evidence.without_error, evidence.units
    if not lost.any() or evidence.num_particles == 1:
        return
    if evidence.num_particles < FEWEST:
        yield f"K = {evidence.num_particles} weights have no error: it takes at least {FEWEST}"
        return
    is_heavy = lost & (evidence.pareto_k > evidence.bad_k)
    reasons = []
    if is_heavy.any():
        why = f"have a Pareto k above {evidence.bad_k:.2g}"
        reasons.append(f"{int(is_heavy.sum()):,} of {units:,} units {why}")
    if (is_few := lost & ~is_heavy).any():
        why = f"have too few effective weights, {float(evidence.ess[is_few].median()):.1f} in the median"
        reasons.append(f"{int(is_few.sum()):,} of {units:,} units {why}")
    said = (
        f"{' and '.join(reasons)}: a few weights decide their figures, which are probably too low, by "
        "nobody knows how much. They have no error "
    )
    if units > 1:
        said += f"(the first is unit {int(lost.nonzero()[0])}), and so the mean has none"
    said = said.rstrip() + ". "
    known = evidence.standard_error.isfinite()
    if known.any():
        errors = evidence.standard_error[known]
        digits = digits_of(error := mean_error(errors))
        mean = float(evidence.log_evidence[known].mean())
        said += f"Without them it is {mean:.{digits}f} {plus_minus(error)}. "
    if evidence.is_unbiased:
        said += "The certificate holds all the same. "
    yield said + "More particles, a wider proposal or annealing (at more temperatures) help"


def _without_k(evidence: Evidence) -> Iterator[str]:
    if evidence.pareto_k.isnan().all() and evidence.bad_units < evidence.units:
        yield (
            "too few weights a unit to tell how heavy their tail is (Pareto k wants at least 25): the "
            "errors take weights to be log-normal, as those of annealing nearly are"
        )


def _crossed(evidence: Evidence) -> Iterator[str]:
    if evidence.upper is None or not evidence.mean_gap < 0:
        return
    if -evidence.mean_gap < 2 * evidence.mean_gap_error:
        yield "the figure from above lies below the one from below, by no more than their errors"
    else:
        yield (
            f"the figure from above lies {-evidence.mean_gap:.3g} nats below the one from below: it bounds "
            "nothing here. The chains are far from the posterior, at either end: more temperatures help"
        )


def _of_a_density(evidence: Evidence) -> Iterator[str]:
    if evidence.bits_per_dimension < 0:
        yield (
            "bits per dimension below 0 are those of a density: of values that recur, as zeros and grey "
            "levels do, it can grow without bound. A likelihood of levels, such as DiscretizedLogistic, "
            "gives probabilities"
        )


def _mean_rows(evidence: Evidence) -> Iterator[Row]:
    error, units = evidence.mean_standard_error, evidence.units
    digits = digits_of(error)
    what = "log p(x) of all data together"
    if evidence.unit:
        whose = " drawn from the model" if evidence.simulated else ""
        many = f"{units:,} unit{'s' * (units > 1)}"
        what = f"mean log p(x) of {many}{whose} (plate {evidence.unit!r})"
    yield what, f"{evidence.mean:.{digits}f} nats{', exactly' if evidence.is_exact else ''}"
    if not evidence.is_exact:
        alone = evidence.num_particles == 1
        yield "  Monte-Carlo error", f"{plus_minus(error, digits)}{ALONE if alone else ''}"
    if units > 1:
        yield "  sampling error, of the data", plus_minus(evidence.sampling_error)
        total = "" if evidence.is_exact else f" {plus_minus(error * units)}"
        yield "total", f"{evidence.total:.{digits_of(error * units)}f}{total} nats"
    if evidence.values_per_unit:
        yield "bits per dimension", f"{evidence.bits_per_dimension:.4f}"
    is_certified = evidence.is_unbiased and not evidence.is_exact and math.isfinite(evidence.mean)
    if is_certified and not evidence.simulated:
        yield (
            "certified, with probability 95%",
            f"at least {evidence.certificate():.{digits}f} nats",
        )


def _rows_from_above(evidence: Evidence) -> Iterator[Row]:
    if evidence.upper is None or evidence.upper_error is None:
        return
    error = evidence.mean_gap_error
    below, above = float(evidence.log_evidence.mean()), float(evidence.upper.mean())
    upper_error = float(evidence.upper_error.square().sum().sqrt()) / evidence.units
    digits = digits_of(error)
    yield (
        "lower bound, in expectation",
        f"{below:.{digits}f} {plus_minus(evidence.mean_standard_error)}",
    )
    what = "upper bound, in expectation" if evidence.simulated else "upper estimate (no bound)"
    yield what, f"{above:.{digits}f} {plus_minus(upper_error)}"
    yield "gap", f"{evidence.mean_gap:.{digits}f} {plus_minus(error)} nats"
    if evidence.simulated:
        low, high = evidence.interval()
        yield "certified, with probability 95%", f"{low:.{digits}f} to {high:.{digits}f} nats"
    for name, value in evidence.indicative.items():
        yield f"{name} (indicative)", f"{float(value.mean()):.{digits}f}"


def _rows_of_draws(evidence: Evidence) -> Iterator[Row]:
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
    """How many digits show an error to two places.

    >>> digits_of(0.0123), digits_of(12.3), digits_of(float("nan"))
    (3, 1, 3)
    """
    if not math.isfinite(error) or error <= 0:
        return 3
    return min(6, max(1, 1 - math.floor(math.log10(error))))


def plus_minus(error: float, digits: int | None = None) -> str:
    """
    >>> plus_minus(0.0123)
    '± 0.012'
    """
    if math.isnan(error):
        return "± unknown"
    return f"± {error:.{digits_of(error) if digits is None else digits}f}"


def _figure(values: Tensor, digits: int) -> str:
    return f"{float(values.mean()):.{digits}f}"


def _wrapped(name: str, value: str, width: int) -> list[str]:
    first, *rest = textwrap.wrap(value, max(30, WIDTH - width)) or [""]
    return [f"{name:{width}}{first}", *(" " * width + line for line in rest)]
