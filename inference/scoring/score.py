"""The score of every row: how strange a program finds it, against held-out normal rows."""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.data import Batches, Split
from pyro_vae.errors import InputError, at_least_1, must_be, true_or_false
from pyro_vae.inference.checks.training_rows import num_training_rows
from pyro_vae.inference.evidence.bidirectional import Bidirectional
from pyro_vae.inference.evidence.exact import Exact
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import Method
from pyro_vae.inference.evidence.methods import as_method
from pyro_vae.inference.scoring.by import Figures, Score
from pyro_vae.inference.scoring.calibration import Calibration, q_values
from pyro_vae.inference.scoring.common_draws import rows_of
from pyro_vae.inference.scoring.result import Scores
from pyro_vae.inference.scoring.rows import Rows
from pyro_vae.inference.scoring.surprise import Surprise
from pyro_vae.program.contract import Program, as_program


def _check_rate(name: str, rate: Any) -> None:
    if not 0 < checks.number(name, rate, least=0) < 1:
        raise must_be(name, "a number between 0 and 1", rate)


CHECKS: dict[str, checks.Check] = {
    "by": checks.suggesting("pass by=Surprise(), say", checks.instance(Score, "a Score")),
    "false_alarms": _check_rate,
    "method": checks.optional(
        checks.instance((str, Method, type), "the name of a method, or a Method")
    ),
    "num_particles": checks.optional(at_least_1),
    "shares": true_or_false,
    "seed": checks.seed,
    "progress": checks.optional(true_or_false),
}


def score(
    program: Any,
    data: Any,
    *,
    by: Score = Surprise(),  # noqa: B008 - it is frozen
    reference: Any = None,
    false_alarms: float = 0.05,
    method: str | Method | None = None,
    num_particles: int | None = None,
    shares: bool = True,
    seed: int = 0,
    device: str | torch.device = "auto",
    progress: bool | None = None,
) -> Scores:
    """Score rows by how strange a program finds them; larger is stranger.

    With held-out normal rows as ``reference``, each row gets a p-value: the share of them, and itself, that
    are as strange. A normal row has p <= a with probability a at most, whatever the program is, as long as
    reference and normal rows come from one distribution and the program was not fitted to either.

    All rows share one set of draws: a row scores the same alone and among others, within 1e-4 nats and a
    millionth of its size, and the same call gives the same bits. What a row lacks (NaN) is left out, if
    the program leaves it out: the score is that of the observed values.

    Args:
        program: a model and guide.
        data: the rows, as :func:`pyro_vae.log_evidence` takes them.
        by: the score: ``Surprise()``, ``Regret()``, ``Typicality()``, ``DoSE()``, ``InputComplexity()``,
            ``Background(program)``, ``Reconstruction()``, or your own (:mod:`pyro_vae.inference`).
        reference: normal rows that the program was not fitted to, of the same kind as ``data``. A score
            that learns from normal rows takes a random half of them for that; the other half calibrates.
        false_alarms: the share of normal rows that the threshold is to flag.
        method: of the evidence; by default exact where the program has a method ``log_evidence``, or
            else importance sampling.
        num_particles: K; by default that of the method.
        shares: whether to divide the scores among sites and columns, which takes further draws.
        seed: of all draws.
        device: where to compute; "auto" is the GPU where there is one.
        progress: whether to draw a bar; by default where standard error is a terminal.

    Raises:
        InputError: the program gives rows no evidence of their own, as an autoencoder; the reference has
            other columns, or holds training rows; the score needs a reference.

    >>> from pyro_vae import fit
    >>> from pyro_vae.models import FactorAnalysis
    >>> x, model = torch.randn(300, 3), FactorAnalysis((3,), 1)
    >>> result = fit(model, x[:200], epochs=5, progress=False)
    >>> scores = score(model, torch.tensor([[0.0, 0.0, 9.0], [0.1, 0.2, 0.3]]), reference=x[200:])
    >>> scores.is_strange.tolist(), scores.reasons(0)[0][0]
    ([True, False], 'x[2]')
    """
    checks.check_arguments(CHECKS, locals())
    target = as_program(program)
    way = method_for(target, method)
    count = way.num_particles if num_particles is None else num_particles
    rows = Rows(target, data, way, count, seed, device, progress, shares)
    learning, calibrating = _reference(target, rows, reference, by, seed)
    learnt = by.learn(learning) if learning is not None else None
    found = by.figures(rows, learnt)
    normal = None if calibrating is None else by.figures(calibrating, learnt)
    return _result(found, normal, by, false_alarms, _columns(data, found))


def method_for(program: Program, method: str | Method | None = None) -> Method:
    """Return the method that is meant; by default the exact one, where the program has it."""
    if method is None:
        return Exact() if program.log_evidence is not None else Importance()
    way = as_method(method)
    if isinstance(way, Bidirectional):
        raise InputError(
            "bidirectional Monte Carlo weighs data that the model draws, and not the rows",
            subject="method",
            remedy="pass method=Sandwich() (--method sandwich), which weighs the rows from both sides",
        )
    return way


def _reference(
    program: Program, rows: Rows, reference: Any, by: Score, seed: int
) -> tuple[Rows | None, Rows | None]:
    """Return the normal rows that the score learns from, and those that calibrate it.

    Raises:
        InputError: there are none, too few, or others than should be.
    """
    if reference is None:
        if by.learns:
            raise InputError(
                f"{type(by).__name__} compares with normal rows, and there are none",
                subject="reference",
                remedy="pass reference=..., held-out normal rows",
            )
        return None, None
    with checks.naming("reference"):
        normal = rows_of(program, reference, "cpu")
    _check_same_columns(rows, normal, reference)
    _check_held_out(program, normal)
    given = replace(rows, data=reference)
    if not by.learns:
        return None, given
    if normal.num_units < 2:
        raise InputError(
            f"{type(by).__name__} learns from one half of the reference and calibrates on the other, and "
            "there is one row",
            subject="reference",
            expected="at least 2 rows",
        )
    order = torch.randperm(normal.num_units, generator=torch.Generator().manual_seed(seed))
    whole = given.values
    halves = (tuple(column[part] for column in whole) for part in order.tensor_split(2))
    first, second = (replace(given, data=half) for half in halves)
    return first, second


def _check_same_columns(rows: Rows, normal: Batches, reference: Any) -> None:
    first = torch.arange(1)
    shapes = [
        [tuple(column.shape[1:]) for column in next(some.take(first, 1))]
        for some in (rows_of(rows.program, rows.data, "cpu"), normal)
    ]
    names = [
        split.column_names if isinstance(split, Split) else None for split in (rows.data, reference)
    ]
    if shapes[0] != shapes[1]:
        problem = (
            f"the reference has rows of shape {_words(shapes[1])}, and the data {_words(shapes[0])}"
        )
    elif None not in names and names[0] != names[1]:
        problem = (
            f"the reference has the columns {_words(names[1])}, and the data {_words(names[0])}"
        )
    else:
        return
    raise InputError(
        problem,
        subject="reference",
        expected="the same columns",
        remedy="take the reference from the data that the program was made for",
    )


def _words(items: Any) -> str:
    return ", ".join(map(str, items))


def _check_held_out(program: Program, normal: Batches) -> None:
    """Raise InputError where the reference holds rows that the program was fitted to."""
    known = num_training_rows(program, normal)
    if known:
        raise InputError(
            f"{known:,} of the {normal.num_units:,} reference rows are training rows, which the program "
            "finds less strange than new ones, so the p-values would be too small",
            subject="reference",
            expected="normal rows that the program was not fitted to",
            remedy="hold some rows out of the fit",
        )


def _columns(data: Any, figures: Figures) -> dict[str, tuple[str, ...]]:
    """Return the names of a table's columns by the one site that has as many values."""
    names = data.column_names if isinstance(data, Split) else None
    sites = [
        n for n, s in figures.shares.items() if s.dim() == 2 and s.shape[1] == len(names or ())
    ]
    return {sites[0]: names} if names is not None and len(sites) == 1 else {}


def _result(
    found: Figures,
    normal: Figures | None,
    by: Score,
    false_alarms: float,
    columns: dict[str, tuple[str, ...]],
) -> Scores:
    scores = 0.0 + found.scores.double().cpu()  # no -0
    notes = list(found.notes)
    unknown = int(scores.isnan().sum())
    if unknown:
        notes.append(f"{unknown:,} rows have no score: the program scores them NaN")
    common: dict[str, Any] = {
        "scores": scores,
        "errors": found.errors.double().cpu(),
        "by": by.description,
        "shares": found.shares,
        "usual": _usual(found if normal is None else normal),
        "columns": columns,
        "false_alarms": false_alarms,
    }
    if normal is None:
        return Scores(**common, notes=tuple(notes))
    reference = as_reference(normal.scores.double().cpu())
    calibration = Calibration(reference)
    unknown = int(normal.scores.isnan().sum())
    if unknown:
        notes.append(
            f"{unknown:,} of the {len(reference):,} reference rows have no score, and count as strangest"
        )
    p, threshold = calibration.p_values(scores), calibration.threshold(false_alarms)
    least = 1 / (len(reference) + 1)
    if least > false_alarms:
        enough = math.ceil(1 / false_alarms) - 1
        notes.append(
            f"{len(reference):,} reference rows give no p-value below {least:.2g}, so no row is flagged "
            f"at {false_alarms:.3g} false alarms: that takes at least {enough:,} rows"
        )
    return Scores(
        **common,
        p_values=p,
        q_values=q_values(p),
        threshold=threshold,
        reference_scores=reference,
        notes=tuple(notes),
    )


def _usual(figures: Figures) -> dict[str, Tensor]:
    """Return the median of each share over some rows."""
    return {name: share.nanmedian(0).values for name, share in figures.shares.items()}


def as_reference(scores: Tensor) -> Tensor:
    """Return the scores of the reference; one that is unknown counts as strangest, on the safe side."""
    return scores.nan_to_num(nan=float("inf"), posinf=float("inf"))
