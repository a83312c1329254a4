"""A mixture of one kernel an exemplar, which makes a density of rows."""

import math
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from pyro_vae.distributions.tables import ObservedOrNaN

SAME = 1e-6  # of two rows' squared norms: the squared distance below which they count as equal
AT_ONCE = 2**21  # distances of a block


class ExemplarMixture(dist.TorchDistribution):
    """Mix multivariate t kernels about N exemplars: p(y) = 1/N sum_n t(y | e_n, width, freedom);
    x = m + s y.

    t has density proportional to (1 + |y - e_n|^2 / (freedom width^2))^-((freedom + D) / 2). A value that
    is NaN was not observed and is integrated out. Distances are in float64.

    Args:
        exemplars: (N, D), without gaps.
        width: of the kernels, above 0, a number in a tensor.
        freedom: degrees of freedom, above 0.
        count: how many exemplars count, the first ones; a number in a tensor, by default all.
        location: m, (D,) or a number.
        scale: s, likewise.
        event_shape: of x, with D values; by default (D,).
        leave_out: whether to leave out exemplars that equal y, as in leave-one-out.
        batch_shape: by default ().

    >>> p = ExemplarMixture(torch.zeros(1, 2), torch.tensor(1.0), 5.0)
    >>> x = torch.tensor([[1.0, float("nan")]])
    >>> torch.allclose(p.log_prob(x), dist.StudentT(5.0).log_prob(torch.tensor([1.0])))
    True
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own protocol

    def __init__(
        self,
        exemplars: Tensor,
        width: Tensor,
        freedom: float,
        count: Tensor | None = None,
        *,
        location: Tensor | float = 0.0,
        scale: Tensor | float = 1.0,
        event_shape: Sequence[int] | None = None,
        leave_out: bool = False,
        batch_shape: Sequence[int] = (),
    ) -> None:
        self.exemplars, self.width, self.freedom = exemplars, width, freedom
        self.count = torch.tensor(len(exemplars)).to(exemplars.device) if count is None else count
        self.location = torch.as_tensor(location).to(exemplars)
        self.scale = torch.as_tensor(scale).to(exemplars)
        self.leave_out = leave_out
        event = exemplars.shape[-1:] if event_shape is None else torch.Size(event_shape)
        super().__init__(torch.Size(batch_shape), event, validate_args=False)

    @constraints.dependent_property(is_discrete=False)
    def support(self) -> constraints.Constraint:
        return constraints.independent(ObservedOrNaN(constraints.real), len(self.event_shape))

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "ExemplarMixture":
        other = copy(self)
        other._batch_shape = torch.Size(batch_shape)
        return other

    @property
    def mean(self) -> Tensor:
        counts = torch.arange(len(self.exemplars), device=self.exemplars.device) < self.count
        y = (self.exemplars * counts.unsqueeze(1)).sum(0) / self.count
        x = (self.location + self.scale * y).reshape(self.event_shape)
        return x.expand(self.batch_shape + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        log_probs = self._in_blocks(lambda y: self._log_kernels(y).logsumexp(-1), value)
        return (log_probs - self.count.double().log() - self._log_units(value).sum(-1)).to(
            value.dtype
        )

    def by_value(self, value: Tensor) -> Tensor:
        """Return parts of the log-probability that sum to it, ``batch | X``.

        The logarithm of a kernel's fall is divided like the squared distance; what is left is the same for
        all observed values, but for their units.
        """
        parts = self._in_blocks(self._parts, value) - self._log_units(value)
        observed = ~self._flat(value).isnan()
        rest = self.log_prob(value).double().unsqueeze(-1) - parts.sum(-1, keepdim=True)
        count = observed.sum(-1, keepdim=True).clamp(min=1)
        whole = torch.where(observed, parts + rest / count, 0.0).to(value.dtype)
        return whole.reshape(whole.shape[:-1] + self.event_shape)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = torch.Size(sample_shape) + self.batch_shape
        places = torch.rand(shape, device=self.exemplars.device) * self.count
        number = torch.minimum(places.long(), self.count - 1)
        size = self.exemplars.shape[-1:]
        noise = torch.randn(shape + size, device=number.device, dtype=self.exemplars.dtype)
        freedom = torch.full((*shape, 1), self.freedom).to(noise)
        spread = self.width * (self.freedom / dist.Chi2(freedom).sample()).sqrt()
        x = self.location + self.scale * (self.exemplars[number] + spread * noise)
        return x.reshape(shape + self.event_shape)

    # --- blocks of rows ------------------------------------------------------------------------

    def _flat(self, value: Tensor) -> Tensor:
        """Return values with the event as one dimension, ``batch, D``."""
        batch = value.shape[: value.dim() - len(self.event_shape)]
        shape = torch.broadcast_shapes(batch, self.batch_shape)
        return value.expand(shape + self.event_shape).reshape(*shape, -1)

    def _log_units(self, value: Tensor) -> Tensor:
        """Return log s of the observed values, and 0 for the others, ``batch, D``."""
        flat = self._flat(value)
        log_scale = self.scale.double().log().expand(flat.shape[-1])
        return torch.where(flat.isnan(), 0.0, log_scale)

    def _in_blocks(self, function: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
        """Return what a function gives for rows y, (M, D) in float64, computed for some at a time."""
        flat = self._flat(value)
        y = (flat.double() - self.location.double()) / self.scale.double()
        step = max(1, AT_ONCE // len(self.exemplars))
        done = torch.cat([function(rows) for rows in y.reshape(-1, y.shape[-1]).split(step)])
        return done.reshape(*flat.shape[:-1], *done.shape[1:])

    def _squared_distances(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return squared distances over observed values, (M, N), and those that count as equal to 0."""
        x, e = rows.double(), self.exemplars.double()
        observed = ~x.isnan()
        x = torch.where(observed, x, 0.0)
        norms = observed.double() @ e.square().T
        own = x.square().sum(1, keepdim=True)
        squared = (own + norms - 2 * x @ e.T).clamp(min=0)
        return squared, squared <= SAME * (own + norms) + 1e-12

    def _log_kernels(self, rows: Tensor) -> Tensor:
        """Return the log-density of each kernel, (M, N)."""
        squared, is_same = self._squared_distances(rows)
        dims = (~rows.isnan()).sum(1, keepdim=True).double()
        freedom, width = self.freedom, self.width.double()
        constant = (
            torch.lgamma((freedom + dims) / 2)
            - math.lgamma(freedom / 2)
            - dims * (width.log() + 0.5 * math.log(freedom * math.pi))
        )
        fall = torch.log1p(squared / (freedom * width.square()))
        log_kernels = constant - (freedom + dims) / 2 * fall
        unused = torch.arange(len(self.exemplars), device=rows.device) >= self.count
        if self.leave_out:
            left_out = is_same | unused
            is_alone = left_out.all(1, keepdim=True)  # then nothing would be left
            unused = torch.where(is_alone, unused, left_out)
        return log_kernels.masked_fill(unused, -math.inf)

    def _parts(self, rows: Tensor) -> Tensor:
        """Return minus the mean logarithm of the kernels' fall, divided among the values, (M, D)."""
        log_kernels = self._log_kernels(rows)
        responsible = log_kernels.softmax(-1)
        dims = (~rows.isnan()).sum(1).double()
        squared, _ = self._squared_distances(rows)
        scale = self.freedom * self.width.double().square()
        fall = (responsible * torch.log1p(squared / scale)).sum(1) * (self.freedom + dims) / 2
        x, e = rows.double().nan_to_num(), self.exemplars.double()
        far = (x.square() - 2 * x * (responsible @ e) + responsible @ e.square()).clamp(min=0)
        far = torch.where(rows.isnan(), 0.0, far)
        return -far / far.sum(1, keepdim=True).clamp(min=1e-30) * fall.unsqueeze(1)
