"""A table whose columns are drawn one after another."""

from collections.abc import Callable, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints


class ColumnsInTurn(dist.TorchDistribution):
    """Draw the columns of a row in turn: p(x) = prod_j p_j(x_j | x_1, ..., x_(j-1)).

    Args:
        given: returns the distributions of all columns, ``batch, columns |``, each given those before it.
        batch_shape: of the rows.
        columns: their number.
        like: a tensor of the draws' type, on their device.
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own protocol

    def __init__(
        self, given: Callable[[Tensor], Any], batch_shape: Sequence[int], columns: int, like: Tensor
    ) -> None:
        self.given, self.like = given, like
        super().__init__(torch.Size(batch_shape), torch.Size([columns]), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        return constraints.real_vector

    def log_prob(self, value: Tensor) -> Tensor:
        return self.given(value).log_prob(value).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = (*sample_shape, *self.batch_shape, *self.event_shape)
        return self.sample_given(torch.full(shape, torch.nan).to(self.like))[0]

    @torch.no_grad()
    def sample_given(self, known: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the columns that are NaN, and return the rows with the log-probability of the others."""
        x, log_weight = known.clone(), torch.zeros_like(known[..., 0])
        for j in range(x.shape[-1]):
            base = self.given(x)
            is_known = ~known[..., j].isnan()
            x[..., j] = torch.where(is_known, known[..., j], base.sample()[..., j])
            log_weight += torch.where(is_known, base.log_prob(x)[..., j], 0.0)
        return x, log_weight

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "ColumnsInTurn":
        return ColumnsInTurn(self.given, batch_shape, self.event_shape[0], self.like)
