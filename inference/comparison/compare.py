"""Models compared on the same data: the evidence of each, and the columns of the table."""

import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, must_be, positive, true_or_false, unknown
from pyro_vae.inference.comparison.column import Column
from pyro_vae.inference.comparison.evidences import (
    BayesFactor,
    Difference,
    LogEvidence,
    Probability,
)
from pyro_vae.inference.comparison.lineup import Candidate, Lineup, no_evidence
from pyro_vae.inference.comparison.result import Comparison
from pyro_vae.inference.comparison.same_data import check_comparable
from pyro_vae.inference.evidence.estimate import log_evidence
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.program.trace import FlatPrior
from pyro_vae.progress import progress_bar

COLUMNS: tuple[Column, ...] = (LogEvidence(), Difference(), BayesFactor(), Probability())
PAIR = "an Evidence, or the pair (program, data)"
CHECKS: dict[str, checks.Check] = {
    "columns": checks.each(checks.instance(Column, "a Column"), "columns, such as [*COLUMNS, LOO()]", 1),
    "reference": checks.optional(checks.instance(str, "the name of a model")),
    "joint": true_or_false,
    "sort": true_or_false,
    "seed": checks.optional(checks.seed),
}  # fmt: skip


def compare(
    models: Mapping[str, Any],
    data: Any = None,
    *,
    columns: Sequence[Column] = COLUMNS,
    reference: str | None = None,
    prior_weights: Mapping[str, float] | None = None,
    joint: bool = False,
    sort: bool = True,
    seed: int | None = None,
    **options: Any,
) -> Comparison:
    """Compare models of the same data by their evidence: Bayes factors and posterior probabilities.

    The Bayes factor of model i against the reference r is p(data | i) / p(data | r), of all data together.
    Its interval is that of the Monte-Carlo errors of both, which are independent: each model's draws have
    a seed of their own, made of ``seed`` and its name. So a model's figures do not depend on the others.

    The models may name their sites as they like and take other covariates. What they *observe* must be the
    same values, in the same units, scored by densities in all models or by probabilities in all.

    Args:
        models: by name, an :class:`Evidence` (each with a seed of its own), or a pair (program, data) whose
            evidence is estimated here, where a model alone is enough if the method needs no guide; with
            ``data``, or ``args=`` and ``kwargs=`` among the options, a program.
        data: of all models, as :func:`pyro_vae.log_evidence` takes them.
        columns: of the table. ``LOO()``, ``Seconds()``, those of metrics (``FrechetDistance()``, ``MSE()``,
            ...) or one of your own can be added to ``COLUMNS`` (:mod:`pyro_vae.inference`).
        reference: the name of the model that the others are compared with; by default the best.
        prior_weights: of each model, by name, for its posterior probability; by default all equal. They
            need not sum to 1.
        joint: whether to compare log p(all data) even where one evidence has a figure for each row and
            another is joint, or the rows are in other plates or another order. Nothing is then paired.
        sort: whether the best comes first; if not, the order is that of ``models``.
        seed: of the draws; by default they continue from torch's generator, without advancing it.
        options: further options of :func:`pyro_vae.log_evidence` for all programs: ``method``,
            ``num_particles``, ``unit``, ``device``, ``args``, ``kwargs``, ...

    Raises:
        InputError: the evidences are of other data, of densities in other units or of probabilities and
            densities; or of other units without ``joint``; or an argument does not fit.

    Source: R. E. Kass, A. E. Raftery, "Bayes factors", Journal of the American Statistical Association 90,
    1995.

    >>> import pyro, pyro.distributions as dist
    >>> def coin(a, b):
    ...     def model(flips):
    ...         bias = pyro.sample("bias", dist.Beta(a, b))
    ...         with pyro.plate("flips", len(flips)):
    ...             pyro.sample("heads", dist.Bernoulli(bias), obs=flips)
    ...     def guide(flips):
    ...         pyro.sample("bias", dist.Beta(a + flips.sum(), b + (1 - flips).sum()))
    ...     return model, guide
    >>> flips = torch.tensor([1.0] * 8 + [0.0] * 4)
    >>> found = compare({"flat": coin(1.0, 1.0), "nearly fair": coin(50.0, 50.0)}, flips, seed=0)
    >>> round(float(found.to_frame()["bayes_factor"]["flat"]), 3)  # B(9, 5) B(50, 50) / B(58, 54)
    0.627
    """
    checks.check_arguments(CHECKS, locals())
    _check_models(models)
    base, share = _base_seed(seed), prior_shares(models, prior_weights)
    if reference is not None and reference not in models:
        raise unknown(f"there is no model {reference!r}", reference, models, subject="reference")
    has_data = data is not None or "args" in options or "kwargs" in options
    candidates = []
    with progress_bar(len(models), options.get("progress"), "model", delay=1) as bar:
        for name, given in models.items():
            own = {**options, "seed": model_seed(base, name)}
            pair = (given, data) if has_data else given
            candidates.append(candidate_of(name, given, pair, own, share[name]))
            bar.update()
    return compared(candidates, columns, reference, joint, sort)


def compared(
    candidates: Sequence[Candidate],
    columns: Sequence[Column] = COLUMNS,
    reference: str | None = None,
    joint: bool = False,
    sort: bool = True,
) -> Comparison:
    """Return the comparison of models whose evidence is known.

    A model that lacks an evidence, such as an autoencoder, stands last, with its other columns.

    Raises:
        InputError: they cannot be compared, or none has an evidence.
    """
    have = [candidate for candidate in candidates if not candidate.lacks]
    lack = [candidate for candidate in candidates if candidate.lacks]
    for other in lack:
        if not have or other.name == reference:
            raise InputError(
                f"{other.name!r} cannot be the reference: {other.lacks}", subject=other.name
            )
    notes = [f"{c.name!r} has no log p(data), only the other columns: {c.lacks}" for c in lack]
    notes += check_comparable(have, joint)
    ranked = [*sorted(have, key=lambda candidate: -candidate.total), *lack]
    by_name = {candidate.name: candidate for candidate in candidates}
    chosen = ranked[0] if reference is None else by_name[reference]
    lineup = Lineup(tuple(ranked if sort else candidates), chosen)
    figures = tuple(part for column in columns for part in column.figures(lineup))
    return Comparison(lineup, figures, tuple(notes))


def candidate_of(
    name: str, given: Any, pair: Any, options: Mapping[str, Any], prior: float
) -> Candidate:
    """Return a model with its evidence, which is estimated unless it is given.

    Args:
        name: of the model.
        given: an evidence, or something else.
        pair: the program and its data, if no evidence is given.
        options: of :func:`pyro_vae.log_evidence`.
        prior: the model's probability before the data.

    Raises:
        InputError: there is no evidence and no pair, or the evidence cannot be estimated. A model with a
            flat prior, which has none, is a candidate without.
    """
    if isinstance(given, Evidence):
        return Candidate(name, given, prior=prior)
    program, data = _pair(name, pair)
    start = time.perf_counter()
    try:
        evidence = log_evidence(program, data, **options)
    except FlatPrior as error:
        nothing, lacks = no_evidence(), error.problem
        return Candidate(name, nothing, program, data, options, prior=prior, lacks=lacks)
    except InputError as error:
        raise error.at(f"model {name!r}") from error
    seconds = time.perf_counter() - start
    return Candidate(name, evidence, program, data, options, seconds, prior)


def model_seed(seed: int, name: str) -> int:
    """Return a seed for one model, so that the draws of two models are independent."""
    return (seed + zlib.crc32(name.encode())) % 2**32


def _pair(name: str, pair: Any) -> tuple[Any, Any]:
    """Return a program and its data."""
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise must_be(
            f"the model {name!r}", PAIR, pair, subject="models", remedy="pass the data, too"
        )
    program, data = pair
    if callable(program) and callable(data):
        raise InputError(
            f"the model {name!r} is a pair (model, guide) without data",
            subject="models",
            expected=PAIR,
            remedy="pass compare({name: (model, guide), ...}, data), or ((model, guide), data) for each",
        )
    return program, data


def _check_models(models: Any) -> None:
    expected = "a mapping of two models or more, by name"
    if not isinstance(models, Mapping) or len(models) < 2:
        raise must_be("models", expected, models, remedy="pass {'name': (program, data), ...}")
    if not all(isinstance(name, str) for name in models):
        raise InputError("the names of models must be texts", subject="models", expected="texts")


def _base_seed(seed: int | None) -> int:
    """Return the seed, or one from torch's generator, which is left as it is."""
    if seed is not None:
        return seed
    generator = torch.Generator()
    generator.set_state(torch.get_rng_state())
    return int(torch.randint(2**31, (), generator=generator))


def prior_shares(
    models: Mapping[str, Any], prior_weights: Mapping[str, float] | None
) -> dict[str, float]:
    """Return each model's probability before the data.

    Raises:
        InputError: a weight is missing, is not positive, or is of no model.
    """
    if prior_weights is None:
        return dict.fromkeys(models, 1 / len(models))
    if not isinstance(prior_weights, Mapping):
        raise must_be("prior_weights", "a mapping of a number to each model", prior_weights)
    for name in prior_weights:
        if name not in models:
            raise unknown(f"there is no model {name!r}", name, models, subject="prior_weights")
    missing = [name for name in models if name not in prior_weights]
    if missing:
        raise InputError(
            f"prior_weights has none for {missing[0]!r}",
            subject="prior_weights",
            expected="a positive number for each model",
        )
    weights = {
        name: positive(f"the prior weight of {name!r}", prior_weights[name]) for name in models
    }
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
