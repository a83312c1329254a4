"""The information about parameters, and what covariance it leaves them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.parameters.learnt import Learnt

SINGULAR = {torch.float64: 1e-8, torch.float32: 1e-4}  # an eigenvalue, relative to the largest
NAMED, SHARE = 4, 0.3  # how many parameters a message names, and their share in a direction
UNMOVED = 1e-6  # of a value, relative to what its parameters can move it


@dataclass(frozen=True)
class Covariance:
    """Hold the inverse of the information, (P, P), and the number of directions that have any."""

    matrix: Tensor
    rank: int


def covariance_of(
    information: Tensor, parameters: Sequence[Learnt], dtype: torch.dtype
) -> Covariance:
    """Return the covariance of the unconstrained numbers.

    A direction without information may move none of the model's values, as in the softmax of a simplex. It
    then has no variance either.

    Args:
        information: minus the Hessian, (P, P).
        parameters: whose numbers these are, in order.
        dtype: that the derivatives were computed in.

    Raises:
        InputError: another direction has no information, or the parameters are not at a maximum; the error
            names parameters in that direction.
    """
    names = unconstrained_names(parameters)
    variances = information.diagonal()
    scale = torch.where(variances > 0, variances, 1.0).rsqrt()
    eigenvalues, vectors = torch.linalg.eigh(scale[:, None] * information * scale)
    least = SINGULAR[dtype] * len(scale) * float(eigenvalues.abs().max())
    if bool((eigenvalues < -least).any()):
        rising = _named(vectors[:, 0], names)
        raise InputError(
            f"the likelihood has no maximum at the parameters: it curves upwards along {rising}",
            subject=names[int(vectors[:, 0].abs().argmax())],
            remedy="fit longer, or from another start (restarts=5); a scale may be on its way to 0",
        )
    is_null = eigenvalues <= least
    jacobian = torch.block_diag(*(each.jacobian() for each in parameters)) * scale
    for direction in vectors[:, is_null].T:
        if float((jacobian @ direction).abs().max()) > UNMOVED * float(jacobian.abs().max()):
            raise InputError(
                "the information is singular: the data do not determine "
                f"{_named(direction, names)}, some combination of which leaves the likelihood as it is",
                subject=names[int(direction.abs().argmax())],
                remedy="fix one of them (a sign, a scale, a rotation), or give them priors as latents",
            )
    kept = vectors[:, ~is_null] * scale[:, None]
    return Covariance((kept / eigenvalues[~is_null]) @ kept.T, int((~is_null).sum()))


def unconstrained_names(parameters: Sequence[Learnt]) -> list[str]:
    """Return a name for each unconstrained number: that of its value, where they are as many."""
    names = []
    for each in parameters:
        count, own = each.unconstrained.numel(), each.labels
        names += own if len(own) == count else [each.name] * count
    return names


def _named(direction: Tensor, names: Sequence[str]) -> str:
    """Return the names of the parameters that take most part in a direction."""
    sizes = direction.abs()
    order = [int(i) for i in sizes.argsort(descending=True) if sizes[i] > SHARE * sizes.max()]
    found = list(dict.fromkeys(names[i] for i in order))
    listed = ", ".join(map(repr, found[:NAMED]))
    return listed + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")
