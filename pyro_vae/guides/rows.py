"""What networks read of a unit's rows: all numbers in a line, or step by step."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_vae.guides.series import BackwardReader
from pyro_vae.scaling import Scaling

Rows = Sequence[Tensor]  # of each argument, ``units | any shape``


class Columns(nn.Module):
    """Return all numbers of a unit's rows, standardised, ``units | columns``; 0 where one is missing.

    If rows with gaps (NaN) are there from the start, as many columns follow that say with 1 what is
    missing: a posterior depends on how much was seen.

    Args:
        rows: from which location and scale are learnt.
    """

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        line = _in_line(rows)
        self.values = _Values(line)
        self.out_dim = self.values.out_dim

    def forward(self, rows: Rows) -> Tensor:
        standardised: Tensor = self.values(_in_line(rows))
        return standardised


class Steps(nn.Module):
    """Summarise the steps of a unit from each step on; the numbers that have no step join each summary.

    Args:
        rows: from which location and scale are learnt.
        num_steps: of the series; rows of so many numbers, or rows of numbers, have steps.
    """

    def __init__(self, rows: Rows, num_steps: int) -> None:
        super().__init__()
        self.num_steps = num_steps
        steps, others = self._split(rows)
        self.values = _Values(steps.flatten(0, 1))
        self.others = Columns(others) if others else None
        self.reader = BackwardReader(num_steps, self.values.out_dim)
        self.out_dim = self.reader.out_dim + (self.others.out_dim if self.others else 0)

    def forward(self, rows: Rows) -> list[Tensor]:
        """Return a summary ``units | out_dim`` for each step."""
        steps, others = self._split(rows)
        summaries: list[Tensor] = self.reader(self.values(steps))
        if self.others is None:
            return summaries
        rest = self.others(others)
        return [torch.cat([summary, rest], -1) for summary in summaries]

    def _split(self, rows: Rows) -> tuple[Tensor, list[Tensor]]:
        """Return the values of each step, ``units | steps, columns``, and the rows without steps."""
        has_steps = [x.dim() > 1 and x.shape[1] == self.num_steps for x in rows]
        steps = [
            x.reshape(len(x), self.num_steps, -1)
            for x, has in zip(rows, has_steps, strict=True)
            if has
        ]
        return torch.cat(steps, -1), [x for x, has in zip(rows, has_steps, strict=True) if not has]


def _in_line(rows: Rows) -> Tensor:
    return torch.cat([x.reshape(len(x), -1) for x in rows], -1)


class _Values(nn.Module):
    """Standardise ``batch | columns``, and append what is missing if ``values`` have gaps."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.scaling = Scaling(values.shape[-1:])
        self.scaling.to(values.device).learn(values)
        self.has_gaps = bool(values.isnan().any())
        self.out_dim = values.shape[-1] * (1 + self.has_gaps)

    def forward(self, values: Tensor) -> Tensor:
        x = ((values - self.scaling.location) / self.scaling.scale).nan_to_num(0.0)
        return torch.cat([x, values.isnan().to(x)], -1) if self.has_gaps else x
