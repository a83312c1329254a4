"""Whether every site of a trace can be scored, in the shapes that its plates explain."""

import contextlib
import math
from typing import Any
from unittest import mock

import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import TransformedDistribution, constraints

from pyro_vae.distributions import Columns, PartiallyObserved
from pyro_vae.errors import InputError, first_line
from pyro_vae.program.log_prob import cannot_score
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import (
    Site,
    batch_of,
    observed_sites,
    sample_sites,
    shape_of,
)
from pyro_vae.program.wrappers import declared_events, innermost, layers


def check_log_prob(part: str, trace: poutine.Trace) -> None:
    """Check that the sites of a model or guide have log-probabilities.

    Raises:
        InputError: a distribution raises, or gives NaN, infinity or a tensor of another shape.
    """
    for name, site in sample_sites(trace).items():
        try:
            log_prob = site["fn"].log_prob(site["value"])
        except ValueError as error:
            if _has_no_mass_there(site) or (part == "model" and not site["is_observed"]):
                continue  # a likelihood may be zero, and so may the prior of the guide's draws
            raise _outside_support(part, name, site, error) from error
        except Exception as error:  # a user's distribution can raise anything
            if site["value"].dtype != torch.bool:
                raise cannot_score(site, error, f"the {part}'s ") from error
            raise InputError(
                f"the {part}'s site {name!r} ({site['fn']}) cannot score values of type bool",
                subject=name,
                remedy="pass numbers, as by .float()",
            ) from error
        _check_result(part, site, log_prob)
        if log_prob.isnan().any() or (log_prob == math.inf).any():
            unbounded = ": the density has no bound there" * bool((log_prob == math.inf).any())
            raise InputError(
                f"the {part}'s log-probability at site {name!r} is {log_prob.max():g} ({site['fn']}, value "
                f"of shape {tuple(site['value'].shape)}){unbounded}",
                subject=name,
            )


def _check_result(part: str, site: Site, log_prob: Any) -> None:
    """Check that a distribution, of a user's class perhaps, gives a score for each draw."""
    if not isinstance(log_prob, Tensor) or not log_prob.is_floating_point():
        kind = log_prob.dtype if isinstance(log_prob, Tensor) else type(log_prob).__name__
        result = f"a value of type {kind}"
    elif log_prob.shape != batch_of(site):
        result = f"a tensor of shape {tuple(log_prob.shape)}"
    else:
        return
    kind = type(innermost(site["fn"])).__name__
    raise InputError(
        f"log_prob of the {part}'s site {site['name']!r} ({kind}) gives {result}",
        subject=site["name"],
        expected=f"a real tensor of shape {tuple(batch_of(site))}, a score for each draw",
    )


def check_data(trace: poutine.Trace) -> None:
    """Check that observed values lie in the support of their distribution, or are NaN."""
    for name, site in observed_sites(trace).items():
        fn, value = site["fn"], site["value"]
        try:
            inside = fn.support.check(value)
        except Exception:  # of an unknown support, or a user's own
            continue
        nan = value.isnan()
        while nan.dim() > inside.dim():
            nan = nan.any(-1)
        if not (inside | nan).all() and not _has_no_mass_there(site):
            raise _outside_support("model", name, site, ValueError())


def _has_no_mass_there(site: Site) -> bool:
    """Return whether an observed site's distribution itself scores minus infinity outside its support."""
    unchecked = mock.patch.object(torch.distributions.Distribution, "_validate_sample")
    with unchecked, contextlib.suppress(Exception):
        log_prob = site["fn"].log_prob(site["value"])
        inside = site["fn"].support.check(site["value"])
        no_mass = (log_prob[~inside] == -math.inf).all() and not log_prob.isnan().any()
        return bool(no_mass and site["is_observed"])
    return False


def _first_wrong_column(table: Columns, value: Tensor, may_miss: bool) -> tuple[int, Any]:
    """Return the first column with a value outside its support, and the column's distribution."""
    wrong: dict[int, Any] = {}
    groups = table.order.split(table.sizes)
    for part, group in zip(table.parts, groups, strict=True):
        of_part = value[..., group]
        inside = part.support.check(of_part) | (of_part.isnan() & may_miss)
        fn = PartiallyObserved(part) if may_miss else part
        columns = (~inside).flatten(0, -2).any(0).nonzero().flatten().tolist()
        wrong |= {int(group[i]): fn for i in columns}
    first = min(wrong, default=None)
    return (int(table.order[0]), table.parts[0]) if first is None else (first, wrong[first])


def _outside_support(part: str, name: str, site: Site, error: ValueError) -> InputError:
    """Return the refusal of a value that its distribution cannot score."""
    base, value, may_miss = site["fn"], site["value"], False
    for base in layers(site["fn"], object):
        if isinstance(base, TransformedDistribution):
            break
        may_miss |= isinstance(base, PartiallyObserved)
    if isinstance(base, Columns):
        column, fn = _first_wrong_column(base, value, may_miss)
        in_column: Any = {**site, "fn": fn, "value": value[..., column]}
        return _outside_support(part, name, in_column, error).at(f"column {column}")
    if may_miss:
        value = value[~value.isnan()]
    if value.isnan().any():
        first = tuple(value.isnan().nonzero()[0].tolist())
        problem = f"the {part}'s site {name!r} got NaN, first at index {first}"
        return InputError(problem, subject=name)
    if isinstance(base, torch.distributions.Bernoulli) and value.min() >= 0 and value.max() <= 1:
        return InputError(
            f"site {name!r} is Bernoulli, which scores 0 and 1 only, but the data hold grey values in "
            "between",
            subject=name,
            expected="0 and 1",
            remedy="binarise them (--binarize stochastic), or use the likelihood ContinuousBernoulli or "
            "Normal",
        )
    support = getattr(base.support, "base_constraint", base.support)
    if isinstance(support, constraints.integer_interval) and not support.check(value).all():
        return _not_counted(name, support, value)
    if may_miss or (value.shape and not site["fn"].support.check(value).all()):
        return InputError(
            f"the {part}'s site {name!r} got values between {value.min():g} and {value.max():g}, outside "
            f"the support of its {type(base).__name__}: {support}",
            subject=name,
            expected=str(support),
            remedy="if the data were standardised, leave that out (--standardize false)"
            if value.min() < 0
            else None,
        )
    return InputError(
        f"the {part}'s site {name!r} cannot be scored: {first_line(error)}", subject=name
    )


def _not_counted(name: str, support: Any, value: Tensor) -> InputError:
    """Return the refusal of values outside a range of whole numbers."""
    count = int(torch.as_tensor(support.upper_bound).max()) + 1
    wrong = value[~support.check(value)]
    remedy = f"make it for as many values as there are (num_tokens or levels, here {count})"
    if wrong[0] != wrong[0].round():
        remedy = (
            "if they were standardised, leave that out (--standardize false); if grey, binarise"
        )
    return InputError(
        f"site {name!r} takes whole numbers from 0 to {count - 1}, but the data hold {wrong[0]:g}",
        subject=name,
        expected=f"whole numbers from 0 to {count - 1}",
        remedy=remedy,
    )


def check_shapes(part: str, trace: poutine.Trace, structure: Structure | None = None) -> None:
    """Check that the plates of each site explain the shape of its log-probabilities.

    Args:
        part: the model or the guide.
        trace: a run of it.
        structure: the program's; None where nothing is enumerated.

    Raises:
        InputError: a site is longer than its plates, or its value fits its distribution by broadcasting.
    """
    for name, site in sample_sites(trace).items():
        shape = batch_of(site)
        # the dimensions left of the plates may hold values to sum over
        if structure is not None and structure.holds_enumerated_only:
            shape = shape[max(0, len(shape) - structure.max_plate_nesting) :]
        explained = {frame.dim for frame in site["cond_indep_stack"] if frame.vectorized}
        wide = [d for d in range(-len(shape), 0) if shape[d] > 1 and d not in explained]
        of_fn, of_value = tuple(shape_of(site["fn"])), tuple(site["value"].shape)
        if wide:
            raise InputError(
                f"the {part}'s site {name!r} has log-probabilities of shape {tuple(shape)}, which its "
                f"plates do not explain at dimension {wide[0]}",
                subject=name,
                remedy="add `.to_event(...)`, or a plate, or mend the shapes of distribution "
                f"{of_fn} and value {of_value}",
            )
        if not _fits_as_declared(site["fn"], site["value"]):
            raise InputError(
                f"the {part}'s site {name!r} has a distribution of shape {of_fn} (batch | event), but a "
                f"value of shape {of_value}: they fit by broadcasting only, which counts the same numbers "
                "more than once",
                subject=name,
                expected=f"a distribution of shape {of_value}, or data of shape {of_fn}",
            )


def _fits_as_declared(fn: Any, value: Tensor) -> bool:
    """Return whether a value is as long as its distribution in the dimensions that ``to_event`` made.

    The distribution itself checks the others: a hidden Markov model of one step stands for any number.
    """
    declared, events = declared_events(fn), value.shape[value.dim() - fn.event_dim :]
    return value.dim() >= fn.event_dim and events[:declared] == fn.event_shape[:declared]
