"""From derivatives to the table of the estimates."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.parameters.derivatives import Derivatives
from pyro_vae.inference.parameters.estimates import ParameterEstimates, normal_quantile
from pyro_vae.inference.parameters.information import Covariance, covariance_of
from pyro_vae.inference.parameters.learnt import Learnt
from pyro_vae.inference.parameters.likelihood import Likelihood
from pyro_vae.inference.parameters.maximum import newton_step

LATE, TOO_LATE = 0.05, 1.0  # nats below an estimated maximum, for a note and for a refusal


def table_of(
    likelihood: Likelihood,
    at: Sequence[Tensor],
    repeats: Sequence[Derivatives],
    probability: float,
) -> ParameterEstimates:
    fitted, dtype, tiles = likelihood.parameters, likelihood.dtype, likelihood.tiles
    parameters = [replace(p, unconstrained=value) for p, value in zip(fitted, at, strict=True)]
    scores = torch.stack([each.scores for each in repeats]).mean(0)
    information = -torch.stack([each.hessian for each in repeats]).mean(0)
    if not (information.isfinite().all() and scores.isfinite().all()):
        raise InputError(
            "a derivative of the log-likelihood is not finite",
            subject=parameters[0].name,
            remedy="look for a parameter at the edge of its range",
        )
    inverse = covariance_of(information, parameters, dtype)
    derived = likelihood.derived(at)
    jacobian = torch.block_diag(*(each.jacobian() for each in parameters))
    jacobian = torch.cat([jacobian, derived.jacobian])
    covariance = jacobian @ inverse.matrix @ jacobian.T
    error = _errors(covariance)
    totals = torch.stack([each.values.sum() for each in repeats])
    spread = [_spread_errors(-each.hessian, parameters, dtype, jacobian) for each in repeats]
    estimate = torch.cat([*(each.value().reshape(-1) for each in parameters), derived.values])
    num_units = len(scores)
    return ParameterEstimates(
        (*(label for each in parameters for label in each.labels), *derived.names),
        estimate,
        error,
        _robust(scores, inverse, jacobian),
        _intervals(parameters, estimate, error, inverse.matrix, normal_quantile(probability)),
        covariance,
        _monte_carlo(torch.stack(spread)),
        probability,
        float(totals.mean()),
        float(_monte_carlo(totals)),
        inverse.rank,
        num_units,
        tiles.example.structure.unit if num_units > 1 else None,
        likelihood.log_likelihood.description,
        (
            *_distance(scores.sum(0), information, fitted, at),
            *likelihood.log_likelihood.notes(),
            *_limits(num_units, dtype),
            *tiles.notes,
        ),
    )


def _errors(covariance: Tensor) -> Tensor:
    return covariance.diagonal().clamp(min=0).sqrt()


def _robust(scores: Tensor, inverse: Covariance, jacobian: Tensor) -> Tensor:
    """Return the sandwich's standard errors; NaN where the units are no more than the parameters."""
    if len(scores) <= inverse.rank:
        return torch.full((len(jacobian),), math.nan, dtype=torch.float64)
    half = jacobian @ inverse.matrix @ scores.T
    return half.square().sum(-1).sqrt()


def _spread_errors(
    information: Tensor, parameters: Sequence[Learnt], dtype: torch.dtype, jacobian: Tensor
) -> Tensor:
    try:
        matrix = covariance_of(information, parameters, dtype).matrix
    except InputError:  # by the noise of one repeat
        return torch.full((len(jacobian),), math.nan, dtype=torch.float64)
    return _errors(jacobian @ matrix @ jacobian.T)


def _monte_carlo(repeats: Tensor) -> Tensor:
    """Return the standard error of the mean of repeats; 0 of an exact figure."""
    if len(repeats) == 1:
        return torch.zeros_like(repeats[0])
    return repeats.std(0) / math.sqrt(len(repeats))


def _intervals(
    parameters: Sequence[Learnt], estimate: Tensor, error: Tensor, inverse: Tensor, z: float
) -> Tensor:
    """Return estimates +- z errors; of single numbers with a constraint, mapped from the free scale."""
    intervals = torch.stack([estimate - z * error, estimate + z * error], -1)
    free_errors = _errors(inverse)
    at, free_at = 0, 0
    for each in parameters:
        count, free = each.value().numel(), each.unconstrained.numel()
        if each.is_elementwise:
            half = z * free_errors[free_at : free_at + free].reshape(each.unconstrained.shape)
            middle = each.unconstrained.detach().double()
            ends = torch.stack([each.value(middle - half), each.value(middle + half)], -1)
            intervals[at : at + count] = ends.reshape(-1, 2).sort(-1)[0]
        at, free_at = at + count, free_at + free
    return intervals


def _distance(
    gradient: Tensor, information: Tensor, fitted: Sequence[Learnt], at: Sequence[Tensor]
) -> Iterator[str]:
    """Say how far the fitted parameters are from the maximum, if it matters."""
    moved = torch.cat(
        [
            (value - each.unconstrained.detach()).reshape(-1)
            for value, each in zip(at, fitted, strict=True)
        ]
    )
    if float(moved @ information @ moved) / 2 > LATE:
        yield (
            "the fitted parameters are not at the maximum: it is "
            f"{float(moved @ information @ moved) / 2:.2g} nats above them. The table is of the maximum; "
            "the program keeps what was fitted"
        )
    gain = float(gradient @ newton_step(-information, gradient)) / 2
    if gain > TOO_LATE:
        raise InputError(
            f"the parameters are about {gain:.2g} nats below the maximum of the likelihood, where standard "
            "errors mean nothing",
            subject="program",
            remedy="fit longer, with a learning rate that falls to 0",
        )
    if gain > LATE:
        yield (
            f"the parameters are about {gain:.2g} nats below the maximum: fit longer, with a learning "
            "rate that falls to 0"
        )


def _limits(num_units: int, dtype: torch.dtype) -> Iterator[str]:
    if num_units < 2:
        yield (
            "the log-likelihood is of all data together: a sandwich and a BIC need independent units"
        )
    if dtype != torch.float64:
        yield "derivatives were computed in float32, since the program does not run in float64"
