"""A row of a table whose columns are drawn one after another."""

from collections.abc import Sequence
from typing import Any, Protocol

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints


class Reader(Protocol):
    """Give the distributions of columns, given those before them."""

    def given(self, z: Tensor, x: Tensor) -> Any:
        """Return those of all columns of complete rows, ``batch, columns |``."""

    def start(self, z: Tensor) -> Tensor:
        """Return what is known of rows before their first column."""

    def column(self, z: Tensor, state: Tensor, j: int) -> tuple[Any, int]:
        """Return the distribution of column j, and its place in the last dimension."""

    def read(self, state: Tensor, j: int, value: Tensor) -> Tensor:
        """Return what is known of rows after column j, ``batch |``."""


class ColumnsInTurn(dist.TorchDistribution):
    """Draw the columns of a row in turn: p(x) = prod_j p_j(x_j | x_1, ..., x_(j-1), z).

    A cell that is NaN is missing: it counts 0 nats. Draws are complete.

    Args:
        reader: gives p_j.
        z: ``batch | latent_dim``.
        columns: their number; a value is ``batch | columns``.
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own protocol

    def __init__(self, reader: Reader, z: Tensor, columns: int) -> None:
        self.reader, self.z = reader, z
        super().__init__(z.shape[:-1], torch.Size([columns]), validate_args=False)

    @constraints.dependent_property(is_discrete=False, event_dim=1)
    def support(self) -> constraints.Constraint:
        return _RealOrNaN()

    def log_prob(self, value: Tensor) -> Tensor:
        log_p: Tensor = self.reader.given(self.z, value).log_prob(value).sum(-1)
        return log_p

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = (*sample_shape, *self.batch_shape, *self.event_shape)
        return self.sample_given(self.z.new_full(shape, torch.nan))[0]

    @torch.no_grad()
    def sample_given(self, known: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the cells that are NaN in turn, and return the rows and the log-weights of these draws.

        A log-weight is sum_j log p_j(x_j | x_1, ..., x_(j-1), z) over the known cells: with these weights,
        the rows are draws given those cells.
        """
        z = self.z.expand(*known.shape[:-1], -1)
        state, log_weight, cells = self.reader.start(z), known.new_zeros(known.shape[:-1]), []
        for j, own in enumerate(known.unbind(-1)):
            p, place = self.reader.column(z, state, j)
            is_known = ~own.isnan()
            value = torch.where(is_known, own, p.sample()[..., place])
            if is_known.any():
                of_kind = value.unsqueeze(-1).expand(*value.shape, p.batch_shape[-1])
                log_p = p.log_prob(of_kind)[..., place]
                log_weight = log_weight + torch.where(is_known, log_p, 0.0)
            state = self.reader.read(state, j, value)
            cells.append(value)
        return torch.stack(cells, -1), log_weight

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> "ColumnsInTurn":
        z = self.z.expand(*batch_shape, -1)
        return ColumnsInTurn(self.reader, z, self.event_shape[0])


class _RealOrNaN(constraints.Constraint):
    """Allow any value: what a column may hold depends on the column."""

    event_dim, is_discrete = 1, False

    def check(self, value: Tensor) -> Tensor:
        return ~value.isinf().any(-1)
