"""Distributions on the unit sphere in D dimensions; densities are per area of its surface."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import Transform, biject_to
from torch.nn.functional import normalize

from pyro_vae.distributions.expandable import Expandable

NODES = 64  # quadrature nodes over 24 standard deviations: the error is below float64's rounding
PROPOSALS = 16  # per draw; each is accepted with probability > 0.65, so 1 draw in 2e7 is not exact


def log_area(dim: int) -> float:
    """Return the log of the area of the unit sphere in ``dim`` dimensions.

    >>> round(math.exp(log_area(3)) / math.pi, 6)
    4.0
    """
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


class SphericalUniform(Expandable):
    """Draw uniformly from the sphere.

    Args:
        like: a tensor ``batch | D`` that gives the shape, dtype and device.

    >>> p = SphericalUniform(torch.zeros(3))
    >>> round(p.log_prob(torch.tensor([0.0, 0.6, 0.8])).exp().item() * 4 * math.pi, 5)
    1.0
    """

    event_dims_of: ClassVar = {"like": 1}
    support = constraints.sphere
    has_rsample = True

    def __init__(self, like: Tensor, validate_args: bool | None = None) -> None:
        self.like = like
        super().__init__(like.shape[:-1], like.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return torch.zeros_like(self.like)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return self.like.new_full(shape, -log_area(self.event_shape[0]))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.like.dtype, device=self.like.device)
        return normalize(noise, dim=-1)


class VonMisesFisher(Expandable):
    """Draw z on the sphere, in any dimension D >= 2: p(z) = exp(concentration loc'z) / constant.

    The angle t between z and loc has the density exp(concentration cos t) sin(t)^(D - 2) / constant.
    Rejection draws it. Its gradient is the implicit one, -dF / density. Quadrature computes F and the
    constant.

    Args:
        loc: ``batch | D``, of length 1.
        concentration: ``batch``, positive.

    Source: A. T. A. Wood, "Simulation of the von Mises Fisher distribution", 1994,
    https://doi.org/10.1080/03610919408813161; T. R. Davidson, L. Falorsi, N. De Cao, T. Kipf,
    J. M. Tomczak, "Hyperspherical variational auto-encoders", 2018, https://arxiv.org/abs/1804.00891.

    >>> p = VonMisesFisher(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(5.0))
    >>> round(p.mean[2].item(), 5) == round(1 / math.tanh(5) - 1 / 5, 5)
    True
    """

    arg_constraints = {  # noqa: RUF012
        "loc": constraints.real_vector,
        "concentration": constraints.positive,
    }
    event_dims_of: ClassVar = {"loc": 1, "concentration": 0}
    support = constraints.sphere
    has_rsample = True

    def __init__(
        self, loc: Tensor, concentration: Tensor, validate_args: bool | None = None
    ) -> None:
        self.loc, self.concentration, self.dim = loc, concentration, loc.shape[-1]
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        angles, weights = self._quadrature(*self._range())
        logs = self._log_angle(angles) + weights.log()
        return self.loc * (logs.softmax(-1) * angles.cos()).sum(-1, keepdim=True)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        # loc'z - 1 by squares, because the subtraction would lose digits
        cosine_less_one = -(value - self.loc).square().sum(-1) / 2
        return self.concentration * cosine_less_one - self._log_constant() - log_area(self.dim - 1)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        q = self.expand(torch.Size(sample_shape) + self.batch_shape)
        angle = q._with_gradient(q._draw_angle()).unsqueeze(-1)
        noise = torch.randn_like(q.loc)
        tangent = normalize(noise - (noise * q.loc).sum(-1, keepdim=True) * q.loc, dim=-1)
        return normalize(angle.cos() * q.loc + angle.sin() * tangent, dim=-1)

    def _log_angle(self, angle: Tensor) -> Tensor:
        """Return the log-density of angles, ``batch | angles``, up to a constant."""
        fall = -2 * (angle / 2).sin().square() * self.concentration.unsqueeze(-1)
        return fall + (self.dim - 2) * angle.sin().log() if self.dim > 2 else fall

    def _log_constant(self) -> Tensor:
        angles, weights = self._quadrature(*self._range())
        return (self._log_angle(angles) + weights.log()).logsumexp(-1)

    @torch.no_grad()
    def _range(self) -> tuple[Tensor, Tensor]:
        """Return the angles between which all of the mass lies."""
        k, d = self.concentration, self.dim - 2
        cosine = 2 * k / (d + (d * d + 4 * k * k).sqrt())  # of the mode
        mode, spread = cosine.clamp(max=1).acos(), (k * cosine + k / cosine).rsqrt()
        return (mode - 12 * spread).clamp(min=0), (mode + 12 * spread).clamp(max=math.pi)

    @torch.no_grad()
    def _quadrature(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Return angles and weights, ``batch | nodes``, for an integral from ``low`` to ``high``."""
        nodes, weights = (torch.from_numpy(x).to(low) for x in _gauss_legendre(NODES))
        width = (high - low).unsqueeze(-1)
        return low.unsqueeze(-1) + width * nodes, width * weights

    @torch.no_grad()
    def _draw_angle(self) -> Tensor:
        k, d = self.concentration, self.dim - 1
        b = (d / (2 * k + (4 * k * k + d * d).sqrt())).unsqueeze(-1)
        shape = k.new_full((*self.batch_shape, PROPOSALS), d / 2)
        e = torch.distributions.Beta(shape, shape, validate_args=False).sample()
        rest = (2 * b * e / (1 - (1 - b) * e)).clamp(0, 2)  # 1 - cos t
        x = (1 - b) / (1 + b)
        bound = d * torch.log1p(-x * x) - k.unsqueeze(-1) * (1 - x)
        log_ratio = d * torch.log1p(-x * (1 - rest)) - k.unsqueeze(-1) * rest - bound
        accepted = torch.rand_like(rest).log() < log_ratio
        first = accepted.to(torch.uint8).argmax(-1, keepdim=True)
        return 2 * (rest.gather(-1, first).squeeze(-1) / 2).sqrt().asin()

    def _with_gradient(self, angle: Tensor) -> Tensor:
        log_constant = self._log_constant().unsqueeze(-1)
        angles, weights = self._quadrature(self._range()[0].minimum(angle), angle)
        below = (weights * (self._log_angle(angles) - log_constant).exp()).sum(-1)
        density = (self._log_angle(angle.unsqueeze(-1)) - log_constant).exp().squeeze(-1)
        return angle - (below - below.detach()) / density.detach()


class Stereographic(Transform):
    """Map R^(D - 1) onto the sphere without its south pole: u -> (2 u, 1 - |u|^2) / (1 + |u|^2).

    >>> Stereographic()(torch.tensor([1.0, 0.0]))
    tensor([1., 0., 0.])
    """

    domain = constraints.real_vector
    codomain = constraints.sphere
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        square = x.square().sum(-1, keepdim=True)
        return torch.cat([2 * x, 1 - square], -1) / (1 + square)

    def _inverse(self, y: Tensor) -> Tensor:
        return y[..., :-1] / (1 + y[..., -1:])

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x.shape[-1] * (math.log(2) - x.square().sum(-1).log1p())

    def forward_shape(self, shape: Sequence[int]) -> torch.Size:
        return torch.Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: Sequence[int]) -> torch.Size:
        return torch.Size((*shape[:-1], shape[-1] - 1))


# Markov chains move in R^(D - 1)
@biject_to.register(type(constraints.sphere))  # type: ignore[untyped-decorator]
def _sphere_bijection(_: object) -> Stereographic:
    return Stereographic()


@lru_cache
def _gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2
