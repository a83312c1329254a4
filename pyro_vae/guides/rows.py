"""What networks read of a unit's rows: all numbers in a line, a summary of them, or step by step."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.guides.series import BackwardReader
from pyro_vae.networks import Network, NetworkFactory, Shape
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
    """Return what a network makes of the rows that have elements; other numbers follow in a line.

    The network reads the first argument whose rows have elements. Where such a row is a set, a sequence or
    a line of columns, arguments with as many elements join it: the network reads (elements, columns), also
    of one column. Images are read alone, as they are, and so are tokens.

    Args:
        rows: from which location and scale are learnt.
        reader: makes the network from the shape of what it reads and (64,).

    Raises:
        InputError: there is nothing to read, the factory makes no such network, or rows have gaps and the
            network takes none.
    """

    def __init__(self, rows: Rows, reader: NetworkFactory) -> None:
        super().__init__()
        first = next((i for i, x in enumerate(rows) if x.dim() > 1), None)
        if first is None:
            raise InputError(
                "the units' rows are single numbers, of which a reader makes no summary",
                subject="reader",
                remedy="leave reader out",
            )
        is_line = rows[first].dim() <= 3
        size = rows[first].shape[1]
        joins = [i for i, x in enumerate(rows) if x.dim() in (2, 3) and x.shape[1] == size]
        self.reads = [first, *(i for i in joins if i != first)] if is_line else [first]
        self.reader = _made(reader, self._read(rows))
        self.is_discrete = getattr(self.reader, "discrete_input", False)
        if self.is_discrete and len(self.reads) > 1:
            self.reads = [first]
            self.reader = _made(reader, self._read(rows))
        read = self._read(rows)
        _check(self.reader, read)
        self.takes_missing = getattr(self.reader, "takes_missing", False)
        if not self.takes_missing and read.isnan().any():
            raise InputError(
                "the rows have missing values (NaN), which the reader does not take",
                subject="reader",
                expected="a network that takes missing values, such as DeepSets or MaskedInput",
                remedy="give missing tokens a number of their own"
                if self.is_discrete
                else "wrap it: partial(MaskedInput, network=...)",
            )
        # one scale for all elements of a set, and of an image; for each place where places differ
        self.scaled_shape: Shape = read.shape[1:]
        if is_line:
            is_set = _takes(self.reader, (size + 1, *read.shape[2:]))
            self.scaled_shape = read.shape[2:] if is_set else (read.shape[1:].numel(),)
        self.scaling = Scaling(self.scaled_shape)
        if not self.is_discrete:
            self.scaling.learn(read.reshape(-1, *self.scaled_shape))
        others = self._others(rows)
        self.others = Columns(others) if others else None
        self.out_dim = FEATURES + (self.others.out_dim if self.others else 0)
        self.to(read.device)

    @property
    def description(self) -> str:
        return f"which {type(self.reader).__name__} summarises"

    def forward(self, rows: Rows) -> Tensor:
        read = self._read(rows)
        if not self.is_discrete:
            line = read.reshape(-1, *self.scaled_shape)
            line = (line - self.scaling.location) / self.scaling.scale
            read = line.reshape(read.shape)
        if not self.takes_missing:
            read = read.nan_to_num(0.0)
        features: Tensor = self.reader(read)
        others = self._others(rows)
        return features if self.others is None else torch.cat([features, self.others(others)], -1)

    def _read(self, rows: Rows) -> Tensor:
        """Return what the network reads.

        Raises:
            InputError: arguments that are read together now have unlike numbers of elements.
        """
        members = [_as_numbers(rows[i]) for i in self.reads]
        if members[0].dim() > 3:
            return members[0]
        sizes = [x.shape[1] for x in members]
        if len({*sizes}) > 1:
            raise InputError(
                f"the rows of arguments that the reader reads together have {sizes} elements",
                subject="reader",
                expected="as many of each, as when the guide was made",
            )
        return torch.cat([x.reshape(*x.shape[:2], -1) for x in members], -1)

    def _others(self, rows: Rows) -> list[Tensor]:
        return [x for i, x in enumerate(rows) if i not in self.reads]


def _made(reader: NetworkFactory, read: Tensor) -> nn.Module:
    """Return the network that a factory makes for rows, ``units | any shape``."""
    with _about_the_reader(read):
        return Network.make(reader, read.shape[1:], (FEATURES,)).to(read.device)


def _check(made: nn.Module, read: Tensor) -> None:
    """Check that a network makes 64 numbers of a row.

    Raises:
        InputError: it makes something else.
    """
    shape = tuple(read.shape[1:])
    with _about_the_reader(read), torch.no_grad():
        out = made.eval()(read[:1].nan_to_num(0.0))
    made.train()
    if not isinstance(out, Tensor) or out.shape != (1, FEATURES):
        got = tuple(out.shape[1:]) if isinstance(out, Tensor) else type(out).__name__
        problem = f"the reader gives {got} for a row of shape {shape}"
        raise InputError(problem, subject="reader", expected=_A_READER)


@contextmanager
def _about_the_reader(read: Tensor) -> Iterator[None]:
    """Raise what a factory, or its network, raises as an error of the argument ``reader``."""
    try:
        yield
    except InputError as error:
        raise error.at("reader") from error
    except Exception as error:
        name, shape = type(error).__name__, tuple(read.shape[1:])
        problem = f"a reader of rows of shape {shape} raised {name}: {error}"
        raise InputError(problem, subject="reader", expected=_A_READER) from error


_A_READER = f"a factory such as DeepSets: reader(shape of a row, ({FEATURES},)) makes a network"


def _takes(network: nn.Module, shape: Shape) -> bool:
    return isinstance(network, Network) and network.takes(shape)


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
