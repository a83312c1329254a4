"""What networks read of a unit's rows: all numbers in a line, a summary of them, or step by step."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.guides.series import BackwardReader
from pyro_vae.networks import Network, NetworkFactory
from pyro_vae.scaling import Scaling

Rows = Sequence[Tensor]  # of each argument, ``units | any shape``
FEATURES = 64  # of a summary


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


class Summary(nn.Module):
    """Return what a network makes of the first argument's rows; other numbers follow in a line.

    Where such a row is a set or a sequence, arguments with as many elements join it as columns: the network
    reads (elements, columns). Images are read alone, as they are; and so are whole numbers, which may be
    tokens or categories.

    Args:
        rows: from which location and scale are learnt.
        reader: makes the network from the shape of what it reads and (64,).

    Raises:
        InputError: rows have gaps, and the network takes none.
    """

    def __init__(self, rows: Rows, reader: NetworkFactory) -> None:
        super().__init__()
        read, others = self._split(rows)
        self.reader = Network.make(reader, read.shape[1:], (FEATURES,)).to(read.device)
        if read.isnan().any() and not getattr(self.reader, "takes_missing", False):
            name = type(self.reader).__name__
            raise InputError(
                f"the rows have missing values (NaN), which {name} cannot read",
                subject="reader",
                expected="a network that takes missing values",
                remedy=f"reader=partial(MaskedInput, network={name})",
            )
        is_joined = read.dim() == 3
        self.scaling: Scaling | None = None
        if not getattr(self.reader, "discrete_input", False):
            self.scaling = Scaling(read.shape[2:] if is_joined else read.shape[1:]).to(read.device)
            self.scaling.learn(read.flatten(0, 1) if is_joined else read)
        self.others = Columns(others) if others else None
        self.out_dim = FEATURES + (self.others.out_dim if self.others else 0)

    def forward(self, rows: Rows) -> Tensor:
        read, others = self._split(rows)
        if self.scaling is not None:
            read = (read - self.scaling.location) / self.scaling.scale
        features: Tensor = self.reader(read)
        return features if self.others is None else torch.cat([features, self.others(others)], -1)

    def _split(self, rows: Rows) -> tuple[Tensor, list[Tensor]]:
        """Return what the network reads, and the other rows."""
        first, *others = rows
        if first.dim() not in (2, 3) or _is_whole(first):
            read = _as_numbers(first)
            return read if read.dim() > 1 else read.unsqueeze(-1), others
        joins = [
            x.dim() in (2, 3) and x.shape[1] == first.shape[1] and not _is_whole(x) for x in others
        ]
        members = [first, *(x for x, does in zip(others, joins, strict=True) if does)]
        line = [_as_numbers(x).reshape(*x.shape[:2], -1) for x in members]
        return torch.cat(line, -1), [x for x, does in zip(others, joins, strict=True) if not does]


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
            _as_numbers(x).reshape(len(x), self.num_steps, -1)
            for x, has in zip(rows, has_steps, strict=True)
            if has
        ]
        return torch.cat(steps, -1), [x for x, has in zip(rows, has_steps, strict=True) if not has]


def _in_line(rows: Rows) -> Tensor:
    return torch.cat([_as_numbers(x).reshape(len(x), -1) for x in rows], -1)


def _as_numbers(x: Tensor) -> Tensor:
    return x.to(torch.get_default_dtype())


def _is_whole(x: Tensor) -> bool:
    return not x.is_floating_point() and x.dtype != torch.bool


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
