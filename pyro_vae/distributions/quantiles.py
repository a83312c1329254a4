"""Numbers on the scale of their ranks."""

from collections.abc import Sequence
from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid, softplus

from pyro_vae.distributions.expandable import Expandable
from pyro_vae.quantile_scores import QuantileScores


class QuantileMixture(Expandable):
    """Draw x = Q(u) with Q a quantile function and u from a mixture of logistics, one for each column.

    The density of x is constant within a step d of the file's resolution:
    p(x) = [F(u(x) + h) - F(u(x) - h)] / d, with F the mixture's distribution function, u(x) the score of
    x and h = u'(x) d / 2.

    Args:
        logits: of the components, ``batch, columns | K``.
        loc: likewise.
        scale: likewise.
        quantiles: Q of each column.
    """

    event_dims_of: ClassVar = {"logits": 1, "loc": 1, "scale": 1}

    def __init__(
        self, logits: Tensor, loc: Tensor, scale: Tensor, quantiles: QuantileScores
    ) -> None:
        self.logits, self.loc, self.scale, self.quantiles = logits, loc, scale, quantiles
        super().__init__(logits.shape[:-1], validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> constraints.Constraint:
        return constraints.real

    def log_prob(self, value: Tensor) -> Tensor:
        u, slope = self.quantiles.cell(value)
        step = self.quantiles.resolution
        distance = (u.unsqueeze(-1) - self.loc) / self.scale
        half = (slope * step / 2).unsqueeze(-1) / self.scale
        # s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)) keeps its digits where both are near 0 or 1
        log_mass = logsigmoid(distance + half) + logsigmoid(half - distance)
        log_mass = log_mass + torch.log(-torch.expm1(-2 * half))
        return (self.logits.log_softmax(-1) + log_mass).logsumexp(-1) - step.log()

    @property
    def mean(self) -> Tensor:
        """E[Q(u)]: Q is a line and ramps max(u - u_j, 0), and a logistic's mean of a ramp is a softplus."""
        edges, scores = self.quantiles.edges, self.quantiles.scores
        slopes = edges.diff() / scores.diff()
        weights = self.logits.softmax(-1)
        total = edges[:, :1] + (self.loc - scores[:, :1]) * slopes[:, :1]
        for j, change in enumerate(slopes.diff().unbind(-1), start=1):
            ramp = self.scale * softplus((self.loc - scores[:, j : j + 1]) / self.scale)
            total = total + change.unsqueeze(-1) * ramp
        return (weights * total).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        which = dist.Categorical(logits=self.logits).sample(shape).unsqueeze(-1)
        loc, scale = (
            p.expand(*shape, *p.shape).gather(-1, which)[..., 0] for p in (self.loc, self.scale)
        )
        uniform = torch.rand(loc.shape, dtype=loc.dtype, device=loc.device)
        return self.quantiles.to_values(loc + scale * torch.logit(uniform.clamp(1e-7, 1 - 1e-7)))
