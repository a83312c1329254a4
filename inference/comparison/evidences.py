"""The columns that come from the evidence: its log, the difference, the Bayes factor, the probability."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.inference.comparison.column import (
    NOTHING,
    Column,
    Figures,
    numbers,
    with_errors,
)
from pyro_vae.inference.comparison.lineup import Lineup, quoted
from pyro_vae.inference.evidence.missed_copies import is_of_a_part
from pyro_vae.inference.evidence.report import HARDLY_VARY
from pyro_vae.inference.evidence.result import Evidence

Z95 = 1.959964  # of a Normal interval of 95 %
PLAIN, SCIENTIFIC = (
    3,
    100,
)  # |log10| of Bayes factors below which they are printed as 12.3, as 1.23e-07
ROUGH = 0.5  # nats of error from which a first-order error of a probability is rough


@dataclass(frozen=True)
class LogEvidence(Column):
    """log p(data) of all data together, with its Monte-Carlo error, and the largest Pareto k."""

    def figures(self, lineup: Lineup) -> Iterator[Figures]:
        values, errors = numbers(lineup.totals), numbers(lineup.total_errors)
        yield Figures(
            "log p(data)",
            with_errors(values, errors),
            {"log_evidence": values, "log_evidence_error": errors},
            (*_unknown(lineup), *_of_a_part(lineup)),
        )
        k = numbers(_largest_k(c.evidence) for c in lineup.candidates)
        cells = map(_k_cell, k, errors)
        yield Figures("k", tuple(cells), {"pareto_k": k})


def _largest_k(evidence: Evidence) -> float:
    known = evidence.pareto_k[~evidence.pareto_k.isnan()]
    return math.nan if evidence.is_exact or not len(known) else float(known.max())


def _k_cell(k: float, error: float) -> str:
    """Return k in print; none where the weights do not vary, except by rounding."""
    if math.isnan(k) or k == -math.inf or error < HARDLY_VARY:
        return NOTHING
    return f"{k:.2f}" if math.isfinite(k) else "> 1"


def _unknown(lineup: Lineup) -> Iterator[str]:
    """Name the models whose evidence has no error."""
    unknown = [
        c
        for c in lineup.candidates
        if math.isnan(c.total_error) and not c.lacks and not is_of_a_part(c.evidence)
    ]
    if unknown:
        names = quoted(c.name for c in unknown)
        yield (
            f"a few weights decide the evidence of {names}, which {'are' if len(unknown) > 1 else 'is'} "
            "probably too low by an unknown amount, so no error is known: more particles, a wider proposal "
            "or annealing help"
        )


def _of_a_part(lineup: Lineup) -> Iterator[str]:
    """Name the models whose evidence is of one of several modes that are alike."""
    names = [c.name for c in lineup.candidates if is_of_a_part(c.evidence)]
    if names:
        yield (
            f"the evidence of {quoted(names)} is probably too low by up to the log of the number of its "
            "symmetric copies, so its Bayes factors are, too, and have no error: its own notes say what "
            "reaches all copies"
        )


@dataclass(frozen=True)
class Difference(Column):
    """log p(data) minus that of the reference, with its Monte-Carlo error and its error over rows."""

    def figures(self, lineup: Lineup) -> Iterator[Figures]:
        values, errors = numbers(lineup.differences), numbers(lineup.difference_errors)
        yield Figures(
            "difference",
            with_errors(values, errors),
            {"difference": values, "difference_error": errors},
        )
        sampling = numbers(lineup.row_errors)
        if not any(x > 0 for x in sampling):
            return
        yield Figures(
            "over rows",
            tuple(
                NOTHING if math.isnan(x) or c is lineup.reference else f"± {x:.1f}"
                for c, x in zip(lineup.candidates, sampling, strict=True)
            ),
            {"difference_sampling_error": sampling},
            (
                "over rows: the sampling error of the difference, from the paired differences of the rows "
                "(as dse of leave-one-out). It says how the difference would vary over other samples of as "
                "many rows; the Bayes factor of these data does not have it",
            ),
        )


@dataclass(frozen=True)
class BayesFactor(Column):
    """p(data) over that of the reference, with a Monte-Carlo interval of 95 %."""

    def figures(self, lineup: Lineup) -> Iterator[Figures]:
        logs, errors = lineup.differences, lineup.difference_errors
        low, high = logs - Z95 * errors, logs + Z95 * errors
        rows = zip(lineup.candidates, logs.tolist(), low.tolist(), high.tolist(), strict=True)
        cells = [
            "1" if c is lineup.reference else _factor_with_interval(log, *ends)
            for c, log, *ends in rows
        ]
        yield Figures(
            "Bayes factor",
            tuple(cells),
            {
                "bayes_factor": numbers(logs.exp()),
                "log10_bayes_factor": numbers(logs / math.log(10)),
                "log10_bayes_factor_low": numbers(low / math.log(10)),
                "log10_bayes_factor_high": numbers(high / math.log(10)),
            },
        )


def _factor_with_interval(log: float, low: float, high: float) -> str:
    """Return a Bayes factor and its interval in print, from their logs."""
    if math.isnan(log):
        return NOTHING
    size = abs(log / math.log(10))
    write = _plain if size < PLAIN else _scientific if size < SCIENTIFIC else _power
    if math.isnan(low):
        return f"{write(log)} [unknown]"
    ends = write(low), write(high)
    return write(log) if ends[0] == ends[1] else f"{write(log)} [{', '.join(ends)}]"


def _plain(log: float) -> str:
    """Return the exponential of a number to three digits.

    >>> _plain(0.0), _plain(5.1), _plain(-5.1)
    ('1.00', '164', '0.00610')
    """
    factor = math.exp(min(log, 700))
    if factor == 0:
        return "0"
    return f"{factor:,.{min(6, max(0, 2 - math.floor(math.log10(factor))))}f}"


def _scientific(log: float) -> str:
    """Return the exponential of a number to three digits, with an exponent.

    >>> _scientific(-15.185)
    '2.54e-07'
    """
    return f"{math.exp(log):.2e}"


def _power(log: float) -> str:
    """Return the exponential of a number as a power of ten.

    >>> _power(-300.0)
    '10^-130.3'
    """
    return f"10^{log / math.log(10):.1f}" if math.isfinite(log) else _plain(log)


@dataclass(frozen=True)
class Probability(Column):
    """The posterior probability of each model, p(data | model) w / sum, with its Monte-Carlo error.

    With l_j = log p(data | j) of error e_j, prior weights w_j and p_i = w_i exp(l_i) / sum_j w_j exp(l_j),
    the error of p_i is, to first order, that of independent l_j:

        sqrt(sum_j (p_i (1[i = j] - p_j) e_j)^2)
    """

    def figures(self, lineup: Lineup) -> Iterator[Figures]:
        prior = torch.tensor([c.prior for c in lineup.candidates], dtype=torch.float64)
        p, errors = probabilities(lineup.totals, lineup.total_errors, prior)
        lacks = torch.tensor([bool(c.lacks) for c in lineup.candidates])
        p = p.where(~lacks, math.nan)
        named = {"probability": numbers(p), "probability_error": numbers(errors)}
        if len(set(prior.tolist())) > 1:
            yield Figures("prior", tuple(f"{x:.3g}" for x in prior), {"prior": numbers(prior)})
        yield Figures("probability", probability_cells(p, errors), named, tuple(_rough(lineup, p)))


def probabilities(totals: Tensor, errors: Tensor, prior: Tensor) -> tuple[Tensor, Tensor]:
    """Return posterior probabilities and their Monte-Carlo errors.

    Args:
        totals: log p(data) of each model, nats.
        errors: their Monte-Carlo errors; where one is NaN, no probability has an error.
        prior: the models' prior weights.

    >>> p, error = probabilities(torch.tensor([0.0, 0.0]), torch.tensor([0.1, 0.0]), torch.ones(2))
    >>> p.tolist(), [round(x, 4) for x in error.tolist()]
    ([0.5, 0.5], [0.025, 0.025])
    """
    is_there = ~totals.isnan()  # a model without an evidence has no share
    errors = errors.where(is_there, 0.0)
    p = (totals.where(is_there, -math.inf) + prior.log()).softmax(0)
    jacobian = torch.diag(p) - p[:, None] * p
    return p, (jacobian * errors).square().sum(1).sqrt()


def probability_cells(p: Tensor, errors: Tensor) -> tuple[str, ...]:
    """Return probabilities in print: with errors where these show at three decimals."""
    cells = []
    for value, error in zip(p.tolist(), errors.tolist(), strict=True):
        if math.isnan(value):
            cells.append(NOTHING)
            continue
        shown = f"{value:.3f}" if value >= 0.0005 or value == 0 else f"{value:.0e}"
        if math.isnan(error):
            shown += " ± unknown"
        elif error >= 0.0005:
            shown += f" ± {error:.3f}"
        cells.append(shown)
    return tuple(cells)


def _rough(lineup: Lineup, p: Tensor) -> Iterator[str]:
    counts = p > 1e-3
    if int(counts.sum()) > 1 and bool((lineup.total_errors[counts] > ROUGH).any()):
        yield (
            f"some errors of log p(data) exceed {ROUGH} nats, so the errors of the probabilities, which "
            "are those of first order, are rough"
        )
