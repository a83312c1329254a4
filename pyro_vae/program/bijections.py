"""Maps from unconstrained numbers onto a support, whose values keep finite gradients."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints
from torch.distributions.transforms import (
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    IndependentTransform,
    SigmoidTransform,
    StickBreakingTransform,
    Transform,
)
from torch.nn.functional import logsigmoid, pad

ROOM = 2.0**24  # above the smallest normal number: 1 / x times a count must not overflow


def biject(support: constraints.Constraint) -> Transform:
    """Return torch's ``biject_to``, also onto the support that the components of a mixture share.

    A density such as a Dirichlet's or a Gamma's has a slope of 1 / x. Where x is below the smallest normal
    number, this overflows, and one such draw makes all parameters NaN; so values stay a little above it.
    Nor does a value round to a bound that is another number than 0: beyond it, densities are 0.

    >>> x = torch.tensor([-90.0], requires_grad=True)
    >>> prior = torch.distributions.Gamma(0.1, 1.0)
    >>> [float(torch.autograd.grad(prior.log_prob(onto(x)).sum(), x)[0])
    ...  for onto in (biject(prior.support), biject_to(prior.support))]
    [0.0, -inf]
    """
    of_mixture = type(support).__name__ == "MixtureSameFamilyConstraint"  # not in every torch
    return _kept(biject_to(cast(Any, support).base_constraint if of_mixture else support))


def _kept(transform: Transform) -> Transform:
    """Return a transform whose exponentials, sigmoids and sticks stay among normal numbers."""
    if isinstance(transform, IndependentTransform):
        base = _kept(transform.base_transform)
        return IndependentTransform(base, transform.reinterpreted_batch_ndims)
    if isinstance(transform, ComposeTransform):
        parts = [_kept(part) for part in transform.parts]
        match parts:
            case [_Exp() as exp, AffineTransform() as same] if _is_identity(same):
                return exp
            case [_Exp() | _Sigmoid() as first, AffineTransform() as last]:
                parts = [first, _Inside(last, has_two_bounds=isinstance(first, _Sigmoid))]
        return ComposeTransform(parts)
    kept = KEPT.get(type(transform))
    return transform if kept is None else kept()


def _is_identity(affine: AffineTransform) -> bool:
    numbers = (affine.loc, affine.scale)
    return not any(isinstance(n, Tensor) for n in numbers) and numbers == (0, 1)


class _Normal(Transform):
    """Keep values a little above the smallest normal number."""

    def _call(self, x: Tensor) -> Tensor:
        value: Tensor = super()._call(x)
        return value.clamp(min=torch.finfo(x.dtype).tiny * ROOM)


class _Exp(_Normal, ExpTransform):
    pass


class _Sigmoid(_Normal, SigmoidTransform):
    pass


class _StickBreaking(StickBreakingTransform):
    """Break a stick in logs: torch's own pieces are wrong once 1 - z rounds, from logits of 16 on."""

    def _call(self, x: Tensor) -> Tensor:
        logits = self._logits(x)
        piece, rest = logsigmoid(logits), logsigmoid(-logits).cumsum(-1)
        log_pieces = pad(piece, (0, 1)) + pad(rest, (1, 0))
        return log_pieces.exp().clamp(min=torch.finfo(x.dtype).tiny * ROOM)

    def _inverse(self, y: Tensor) -> Tensor:
        rest = y.flip(-1).cumsum(-1).flip(-1)[..., 1:]
        logits = y[..., :-1].log() - rest.log()
        return logits + self._places(logits).log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return it from x alone: y may have been raised."""
        logits = self._logits(x)
        rest = logsigmoid(-logits)  # of the stick, that each piece leaves
        return (logsigmoid(logits) + rest * self._places(x)).sum(-1)

    def _logits(self, x: Tensor) -> Tensor:
        return x - self._places(x).log()

    @staticmethod
    def _places(x: Tensor) -> Tensor:
        """Return how many pieces follow each."""
        return torch.arange(x.shape[-1], 0, -1, dtype=x.dtype, device=x.device)


class _Inside(AffineTransform):
    """Map positive numbers, or those between 0 and 1, to between bounds; no value rounds to one of them."""

    def __init__(self, affine: AffineTransform, has_two_bounds: bool, cache_size: int = 0) -> None:
        super().__init__(affine.loc, affine.scale, affine.event_dim, cache_size)
        self.has_two_bounds = has_two_bounds

    def with_cache(self, cache_size: int = 1) -> "_Inside":
        same = cache_size == self._cache_size
        return self if same else _Inside(self, self.has_two_bounds, cache_size)

    def _call(self, x: Tensor) -> Tensor:
        value: Tensor = super()._call(x)
        zero = torch.zeros((), dtype=value.dtype, device=value.device)
        bound, scale = (zero + self.loc).detach(), (zero + self.scale).detach()
        value = _beyond(value, bound, scale)
        return _beyond(value, bound + scale, -scale) if self.has_two_bounds else value


def _beyond(value: Tensor, bound: Tensor, direction: Tensor) -> Tensor:
    """Return values that lie beyond a bound: above it, if the direction is positive."""
    least = torch.nextafter(bound, direction * torch.inf)
    return torch.where(direction > 0, value.maximum(least), value.minimum(least))


KEPT: dict[type[Transform], type[Transform]] = {
    ExpTransform: _Exp,
    SigmoidTransform: _Sigmoid,
    StickBreakingTransform: _StickBreaking,
}
