"""Mixtures. Draws from a mixture of diagonal Gaussians have gradients, in any dimension."""

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.special import ndtr


class NormalMixture(dist.MixtureSameFamily):
    """Draw z, with pathwise gradients, from p(z) = sum_k w_k prod_d Normal(z_d | loc_kd, scale_kd).

    The conditional distribution functions u_d = F(z_d | z_1, ..., z_(d-1)) of a draw are independent and
    uniform for any parameters. A draw therefore moves so that u(z; parameters) stays constant:
    dz = -(du/dz)^-1 du, where du/dz is triangular.

    Args:
        logits: ``batch | components``.
        loc: ``batch | components, dims``.
        scale: ``batch | components, dims``.

    Source: M. Figurnov, S. Mohamed, A. Mnih, "Implicit reparameterization gradients", 2018,
    https://arxiv.org/abs/1805.08498.

    >>> p = NormalMixture(torch.zeros(5, 2), torch.randn(5, 2, 3), torch.ones(5, 2, 3))
    >>> p.rsample((7,)).shape
    torch.Size([7, 5, 3])
    """

    has_rsample = True
    support = constraints.real_vector

    def __init__(
        self, logits: Tensor, loc: Tensor, scale: Tensor, validate_args: bool | None = None
    ) -> None:
        components = dist.Normal(loc, scale).to_event(1)
        super().__init__(dist.Categorical(logits=logits), components, validate_args=validate_args)
        self._parameters = logits, loc, scale

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "NormalMixture":
        shape, normal = torch.Size(batch_shape), self.component_distribution.base_dist
        logits = self.mixture_distribution.logits
        logits = logits.expand(shape + logits.shape[-1:])
        loc, scale = (p.expand(shape + p.shape[-2:]) for p in (normal.loc, normal.scale))
        expanded = NormalMixture(logits, loc, scale, validate_args=False)
        expanded._parameters = self._parameters
        return expanded

    def log_prob(self, value: Tensor) -> Tensor:
        logits, loc, scale = self._parameters
        if loc.dim() > 2:
            return super().log_prob(value)
        # All values have the same components, so the sum of squares is two matrix products. Its terms
        # nearly cancel: float64 keeps the difference as exact as a sum of squares in float32.
        if self._validate_args:
            self._validate_sample(value)
        x, loc, precision = value.double(), loc.double(), scale.double().pow(-2)
        squares = x.square() @ precision.t() - 2 * x @ (loc * precision).t()
        constant = (loc.square() * precision + 2 * scale.double().log()).sum(-1)
        log_2pi = loc.shape[-1] * math.log(2 * math.pi)
        log_joint = logits.double().log_softmax(-1) - 0.5 * (squares + constant + log_2pi)
        log_prob = log_joint.logsumexp(-1).to(torch.promote_types(value.dtype, scale.dtype))
        return log_prob.expand(torch.broadcast_shapes(log_prob.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        which = self.mixture_distribution.sample(torch.Size(sample_shape))
        # torch takes the components' `sample`, which looks for negative scales: a GPU is waited for
        each = self.component_distribution.rsample(torch.Size(sample_shape))
        index = which[..., None, None].expand(*which.shape, 1, each.shape[-1])
        return each.gather(-2, index).squeeze(-2)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        z = self.sample(torch.Size(sample_shape))
        if not torch.is_grad_enabled():
            return z
        normal = self.component_distribution.base_dist
        standard = (z.unsqueeze(-2) - normal.loc) / normal.scale  # (B | K, D)
        log_density = normal.log_prob(z.unsqueeze(-2))
        before = log_density.cumsum(-1) - log_density  # of the dimensions before each
        weights = (self.mixture_distribution.logits.unsqueeze(-1) + before).softmax(-2)
        below = ndtr(standard)
        u = (weights * below).sum(-2)  # (B | D)
        with torch.no_grad():
            slope = -standard / normal.scale  # of the log-density
            mean_slope = torch.einsum("...kd,...kj->...dj", weights, slope)
            moved = torch.einsum("...kd,...kj->...dj", weights * below, slope)
            density = (weights * log_density.exp()).sum(-2)
            du_dz = (moved - u.unsqueeze(-1) * mean_slope).tril(-1) + density.diag_embed()
        step = torch.linalg.solve_triangular(du_dz, (u - u.detach()).unsqueeze(-1), upper=False)
        return z - step.squeeze(-1)


def mixture(logits: Tensor, components: dist.TorchDistribution) -> dist.TorchDistribution:
    """Return sum_k w_k p_k of components ``K | D``: a :class:`NormalMixture` where they are diagonal."""
    normal = getattr(components, "base_dist", None)
    if type(components) is dist.Independent and type(normal) is dist.Normal:
        return NormalMixture(logits, normal.loc, normal.scale)
    return dist.MixtureSameFamily(dist.Categorical(logits=logits), components)
