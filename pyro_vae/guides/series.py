"""Latents that repeat step by step, and the network that reads a series from its end to its start."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEAST_STEPS = 4  # of what counts as a series
MOST_LAGS = 3  # steps back that a latent reads, if it need not read all
CHANNELS = 16  # that forget exponentially


@dataclass(frozen=True)
class Series:
    """Hold latents z_1, ..., z_T in a unit that all depend on each other in the same way.

    Attributes:
        names: of the latents, step by step.
        constants: what every step depends on.
        lags: what a step depends on in its own and other series: their names, and how many steps back.
        offset: how many latents come before the first row of the data.
    """

    names: tuple[str, ...]
    constants: tuple[str, ...]
    lags: tuple[tuple[tuple[str, ...], int], ...]
    offset: int


def series_in(
    parents: Mapping[str, Sequence[str]], kinds: Mapping[str, object], lengths: Collection[int]
) -> list[Series]:
    """Return the series among a unit's latents.

    Names differ in a number, as ``z_0``, ``z_1``, ...; there is a latent for each row of the data, perhaps
    one more before the first. Where a latent depends on all steps before it (say because one site observes
    all steps together) it reads one step back.

    Args:
        parents: what each latent depends on, in the order of drawing.
        kinds: something that is equal for latents that can share a factor; others have no entry.
        lengths: the numbers of rows that a unit's data have.

    >>> chain = {f"z_{t}": [f"z_{t - 1}"] if t else [] for t in range(5)}
    >>> [series] = series_in(chain, dict.fromkeys(chain, 1), [5])
    >>> [(of[0], lag) for of, lag in series.lags]
    [('z_0', 1)]
    """
    families = [names for names in _families(parents, kinds) if len(names) >= LEAST_STEPS]
    steps = {n: (names, t) for names in families for t, n in enumerate(names)}
    found = []
    for names in families:
        offsets = [len(names) - length for length in lengths if len(names) - length in (0, 1)]
        constants, lags = set(), set()
        for t, name in enumerate(names):
            constants.add(tuple(u for u in parents[name] if u not in steps))
            lags |= {(of, t - step) for u in parents[name] if u in steps for of, step in [steps[u]]}
        if any(lag > MOST_LAGS for _, lag in lags):
            lags = {(of, lag) for of, lag in lags if lag <= 1}
        if offsets and len(constants) == 1 and all(lag >= 0 for _, lag in lags):
            found.append(Series(names, constants.pop(), tuple(sorted(lags)), min(offsets)))
    return found


def _families(
    parents: Mapping[str, Sequence[str]], kinds: Mapping[str, object]
) -> list[tuple[str, ...]]:
    """Return the names that differ in their last number only, in its order, if they are of one kind."""
    members: dict[tuple[str, str], dict[int, str]] = {}
    for name in parents:
        if name in kinds and (match := re.fullmatch(r"(.*?)(\d+)(\D*)", name)):
            members.setdefault((match[1], match[3]), {})[int(match[2])] = name
    families = [tuple(of[number] for number in sorted(of)) for of in members.values()]
    order = [*parents]
    return [
        names
        for names in families
        if all(kinds[name] == kinds[names[0]] for name in names)
        and sorted(names, key=order.index) == [*names]
    ]


class BackwardReader(nn.Module):
    """Summarise x_t, ..., x_T for each step t: x_t itself, a GRU's state, and running means.

    The means are linear in the data, m_t = d m_(t+1) + (1 - d) B x_t with a learnt d for each, as the
    smoothed states of a linear model with normal noise are.

    Args:
        num_steps: T.
        num_columns: the number of values of a step.
        hidden_dim: the size of the GRU's state.
    """

    positions: Tensor

    def __init__(self, num_steps: int, num_columns: int, hidden_dim: int = 64) -> None:
        super().__init__()
        self.cell = nn.GRUCell(num_columns, hidden_dim)
        self.mix = nn.Linear(num_columns, CHANNELS, bias=False)
        self.keep = nn.Parameter(torch.linspace(-3.0, 3.0, CHANNELS))
        steps = torch.arange(num_steps)
        positions = torch.stack([steps / num_steps, 1 / (steps + 1), 1 / (num_steps - steps)], -1)
        self.register_buffer("positions", positions, persistent=False)
        self.out_dim = num_columns + hidden_dim + CHANNELS + positions.shape[-1]

    def forward(self, steps: Tensor) -> list[Tensor]:
        """Map ``units | steps, columns`` to a summary ``units | out_dim`` for each step."""
        keep = self.keep.sigmoid()
        state = steps.new_zeros(len(steps), self.cell.hidden_size)
        mean = steps.new_zeros(len(steps), CHANNELS)
        summaries = []
        for t in reversed(range(steps.shape[-2])):
            x = steps[:, t]
            state, mean = self.cell(x, state), keep * mean + (1 - keep) * self.mix(x)
            position = self.positions[t].expand(len(x), -1)
            summaries.append(torch.cat([x, state, mean, position], -1))
        return summaries[::-1]
