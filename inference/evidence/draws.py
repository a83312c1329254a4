"""Draws of the posterior with their weights, from a method that makes them."""

import abc
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pyro_vae.inference.evidence.method import Advance, UnitEstimates, Workload
from pyro_vae.program.bound_program import BoundProgram


@dataclass(frozen=True)
class WeightedDraws:
    """Hold K draws of the latents for each of U units.

    Attributes:
        latents: by site, ``K | batch | event``, as the program shapes them; without those that the model
            sums out.
        log_weights: log p(x, z) - log r(z), with r the density that z was drawn from, (K, U), nats.
        notes: sentences that the reader of the draws should know.
        estimates: what the method itself knows of the units, such as the ESS; by default the weights tell.
    """

    latents: Mapping[str, Tensor]
    log_weights: Tensor
    notes: tuple[str, ...] = ()
    estimates: UnitEstimates | None = None


Drawer = Callable[[BoundProgram, Advance], WeightedDraws]
"""Draws the latents of one tile."""


class DrawsPosterior(abc.ABC):
    """A way to draw the latents of each unit, given its data, with the weights that make them right.

    A method is a frozen dataclass of its own options, in a file of its own. Where a method of the evidence
    is one, too, both use the same draws.

    Attributes:
        is_weighted: whether the weights differ; if not, all draws count the same.
        is_independent: whether no draw depends on the one before it, as in a Markov chain.
        uses_density: whether the model's density has a say in the draws; a flat prior is refused then.
        rests_on_guide: whether all draws come from the guide; one that is only the prior is refused then.
        per_draw: how many particles a draw of a joint posterior is taken from, unless the user says.
        num_chains: how many runs the draws come from, one after another: 1 where all are independent.
        num_islands: in how many groups of equal size, one after another, the particles lie; those of one
            group have been resampled together, and groups are independent. 1 where each particle is.
    """

    is_weighted: ClassVar[bool] = True
    is_independent: ClassVar[bool] = True
    uses_density: ClassVar[bool] = True
    rests_on_guide: ClassVar[bool] = False
    per_draw: ClassVar[int] = 1
    num_chains: int
    num_islands: int = 1

    @property
    @abc.abstractmethod
    def description(self) -> str:
        """The method and its options in a phrase, for a paper."""

    @abc.abstractmethod
    def drawer(self, example: BoundProgram, work: Workload) -> Drawer:
        """Return a function that draws the latents of the tiles of one data set.

        Args:
            example: the program on the first few units.
            work: how many draws there are to be, of how many units.

        Raises:
            InputError: the method does not suit this program.
        """

    def program(self, program: Any) -> Any:
        """Return the program to draw from: another one where the method does not use the guide."""
        return program


def joined(parts: Iterable[WeightedDraws]) -> WeightedDraws:
    """Return the draws of several blocks as one."""
    blocks = list(parts)
    names = [name for name in blocks[0].latents if all(name in part.latents for part in blocks)]
    return WeightedDraws(
        {name: torch.cat([part.latents[name] for part in blocks]) for name in names},
        torch.cat([part.log_weights for part in blocks]),
        tuple(dict.fromkeys(note for part in blocks for note in part.notes)),
    )
