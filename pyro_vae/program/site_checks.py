"""Whether every site of a trace can be scored, and if not, why, in words."""

import contextlib
import math
from typing import Any
from unittest import mock

import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import TransformedDistribution, constraints

from pyro_vae.distributions import Columns, PartiallyObserved
from pyro_vae.errors import InputError
from pyro_vae.program.log_prob import cannot_score
from pyro_vae.program.trace import Site, batch_of, innermost, observed_sites, sample_sites


def check_log_prob(part: str, trace: poutine.Trace) -> None:
    for name, site in sample_sites(trace).items():
        try:
            log_prob = site["fn"].log_prob(site["value"])
        except ValueError as error:
            if _has_no_mass_there(site) or (part == "model" and not site["is_observed"]):
                continue  # a likelihood may be zero; and so may the prior of what the guide draws
            raise InputError(_support_message(part, name, site, error)) from error
        except Exception as error:  # whatever a person's own distribution raises
            kind = str(site["value"].dtype).removeprefix("torch.")
            if kind != "bool":
                raise InputError(f"the {part}'s {cannot_score(site, error)}") from error
            raise InputError(
                f"the {part}'s site {name!r} ({site['fn']}) cannot score values of type bool: "
                "pass numbers, as by .float()"
            ) from error
        _check_result(part, site, log_prob)
        if log_prob.isnan().any() or (log_prob == math.inf).any():
            raise InputError(
                f"the {part}'s log-probability at site {name!r} is {log_prob.max():g} "
                f"({site['fn']}, value of shape {tuple(site['value'].shape)})"
                + ": the density has no bound there"
                * bool((log_prob == math.inf).any())
            )


def _check_result(part: str, site: Site, log_prob: Any) -> None:
    """:raises InputError: a person's own distribution gives something else than a score for each draw."""
    if not isinstance(log_prob, Tensor) or not log_prob.is_floating_point():
        kind = log_prob.dtype if isinstance(log_prob, Tensor) else type(log_prob).__name__
        given = f"a value of type {kind}"
    elif log_prob.shape != batch_of(site):
        given = f"a tensor of shape {tuple(log_prob.shape)}"
    else:
        return
    kind = type(innermost(site["fn"])).__name__
    raise InputError(
        f"log_prob of the {part}'s site {site['name']!r} ({kind}) gives {given}: it is to give a real "
        f"tensor of shape {tuple(batch_of(site))}, a score for each draw"
    )


def check_data(trace: poutine.Trace) -> None:
    """What was observed lies in its distribution's support, or is NaN."""
    for name, site in observed_sites(trace).items():
        fn, value = site["fn"], site["value"]
        try:
            inside = fn.support.check(value)
        except Exception:  # of a support that is not known, or a person's own
            continue
        nan = value.isnan()
        while nan.dim() > inside.dim():
            nan = nan.any(-1)
        if not (inside | nan).all() and not _has_no_mass_there(site):
            raise InputError(_support_message("model", name, site, ValueError()))


def _has_no_mass_there(site: Site) -> bool:
    """Whether a distribution itself gives what lies outside its support the probability 0."""
    unchecked = mock.patch.object(torch.distributions.Distribution, "_validate_sample")
    with unchecked, contextlib.suppress(Exception):
        log_prob = site["fn"].log_prob(site["value"])
        inside = site["fn"].support.check(site["value"])
        nothing = (log_prob[~inside] == -math.inf).all() and not log_prob.isnan().any()
        return bool(nothing and site["is_observed"])
    return False


def _first_wrong_column(table: Columns, value: Tensor, may_miss: bool) -> tuple[int, Any]:
    """The number of the first column with a value that cannot be, and its distribution."""
    wrong: dict[int, Any] = {}
    for part, places in zip(table.parts, table.places, strict=True):
        of_part = value[..., places]
        inside = part.support.check(of_part) | (of_part.isnan() & may_miss)
        fn = PartiallyObserved(part) if may_miss else part
        wrong |= {
            places[i]: fn for i in (~inside).flatten(0, -2).any(0).nonzero().flatten().tolist()
        }
    return (
        min(wrong.items(), key=lambda pair: pair[0])
        if wrong
        else (table.places[0][0], table.parts[0])
    )


def _support_message(part: str, name: str, site: Site, error: ValueError) -> str:
    base, value, may_miss = site["fn"], site["value"], False
    while hasattr(base, "base_dist") and not isinstance(base, TransformedDistribution):
        may_miss |= isinstance(base, PartiallyObserved)
        base = base.base_dist
    if isinstance(base, Columns):
        column, fn = _first_wrong_column(base, value, may_miss)
        wrong: Any = {**site, "fn": fn, "value": value[..., column]}
        return f"column {column}: {_support_message(part, name, wrong, error)}"
    if may_miss:
        value = value[~value.isnan()]
    kind = type(base).__name__
    if value.isnan().any():
        first = tuple(value.isnan().nonzero()[0].tolist())
        return f"the {part}'s site {name!r} got NaN, first at index {first}"
    if isinstance(base, torch.distributions.Bernoulli) and value.min() >= 0 and value.max() <= 1:
        return (
            f"site {name!r} is Bernoulli, which scores 0 and 1 only, but the data hold grey values "
            "in between: binarise them (--binarize stochastic), or use the likelihood "
            "ContinuousBernoulli or Normal"
        )
    inside = getattr(base.support, "base_constraint", base.support)
    if isinstance(inside, constraints.integer_interval) and not inside.check(value).all():
        count = int(torch.as_tensor(inside.upper_bound).max()) + 1
        wrong = value[~inside.check(value)]
        remedy = f"make it for as many values as there are (num_tokens or levels, here {count})"
        if wrong[0] != wrong[0].round():
            remedy = (
                "if they were standardised, leave that out (--standardize false); if grey, binarise"
            )
        return (
            f"site {name!r} takes whole numbers from 0 to {count - 1}, but the data hold {wrong[0]:g}: "
            f"{remedy}"
        )
    if may_miss or (value.shape and not site["fn"].support.check(value).all()):
        remedy = "; if the data were standardised, leave that out (--standardize false)"
        return (
            f"the {part}'s site {name!r} got values between {value.min():g} and {value.max():g}, "
            f"outside the support of its {kind}: {inside}" + remedy * bool(value.min() < 0)
        )
    return f"the {part}'s site {name!r} cannot be scored: {str(error).split(chr(10))[0]}"
