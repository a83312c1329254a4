"""A program bound to the arguments of one call, and many chains of it at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.program.contract import Program
from pyro_vae.program.structure import PARTICLES, Structure
from pyro_vae.program.sum_out import enumerating, not_at_once
from pyro_vae.program.trace import Failed, NeedsGradients, as_raised, run

if TYPE_CHECKING:
    from pyro_vae.program.examination import Examination
    from pyro_vae.program.probe import Traces

T = TypeVar("T")
Handler = Callable[[Callable[..., Any]], Callable[..., Any]]


def particle_plate(size: int, structure: Structure) -> Any:
    """Return a plate over particles, left of every plate of the program."""
    return pyro.plate(PARTICLES, size, dim=-1 - structure.max_plate_nesting)


@dataclass(frozen=True)
class BoundProgram:
    """Hold a program, the arguments of one call, and how it runs many chains. A variable of it is a *call*.

    :func:`pyro_vae.inference.evidence.example.bind_example` makes one, with its examination and no chains;
    ``with_fastest_chains`` then sets ``vectorized``, ``pair``, ``by_vmap`` and ``reason``. A copy for other
    units keeps these and drops ``examined`` and ``pair``.

    Attributes:
        program: the model and guide.
        structure: the sites, plates and units of this call.
        vectorized: whether chains run under a plate, left of the program's plates.
        args: the arguments of the call, and ``kwargs``.
        by_rows: whether the arguments are rows: any number of them make a call.
        by_vmap: whether chains that are not vectorized run at once by ``vmap``.
        reason: why they do not, where they run one after another.
        examined: the run that showed the structure.
        pair: two particles drawn together, where that is right.
        noise: the site that scores the same latents differently the next time, if there is one.
    """

    program: Program
    structure: Structure
    vectorized: bool
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    by_rows: bool = False
    by_vmap: bool = False
    reason: str = ""
    examined: "Examination | None" = None
    pair: "Traces | None" = None
    noise: str | None = None

    @property
    def device(self) -> torch.device:
        return self.structure.device

    def single(self) -> "BoundProgram":
        """Return the same call for chains without a dimension."""
        return replace(self, vectorized=False, pair=None)

    def some(self, units: Tensor) -> "BoundProgram":
        """Return the call for some units, by number; for all of them if the data cannot be cut."""
        if not self.by_rows:
            return self
        args = tuple(rows[units] for rows in self.args)
        structure = self.structure.resized(len(units))
        return replace(self, structure=structure, args=args, examined=None, pair=None)

    def chains(self, function: Callable[..., Any], num_chains: int) -> Callable[..., Any]:
        """Return a model or guide that runs many chains, if the call is vectorized."""
        if not self.vectorized:
            return function
        chains: Callable[..., Any] = particle_plate(num_chains, self.structure)(function)
        return chains

    def try_vmap(self, draw: Callable[[], T]) -> T | None:
        """Return ``draw()``, which runs many chains by vmap; None if the call does not run so, or it fails.

        Data unlike the first may need one chain after another, which works or gives the better message.
        """
        if not self.by_vmap:
            return None
        try:
            return draw()
        except torch.OutOfMemoryError:
            raise
        except Exception:
            return None

    def guide(self, num_chains: int, handler: Handler | None = None) -> poutine.Trace:
        """Return the guide's trace, with a handler around the guide."""
        guide = self.chains(self.program.guide, num_chains)
        return run("guide", handler(guide) if handler else guide, self.args, self.kwargs)

    def model(
        self, num_chains: int, handler: Handler | None = None, sum_out: bool = False
    ) -> poutine.Trace:
        """Return the model's trace, with a handler around the model.

        Args:
            num_chains: how many chains run together; 1 unless the call is vectorized.
            handler: wraps the model.
            sum_out: whether enumerated latents take all their values.
        """
        model = self.chains(self.program.model, num_chains)
        enumerated = self.structure.enumerated if sum_out else ()
        if enumerated:
            model = enumerating(model, self.structure.max_plate_nesting)
        try:
            return run("model", handler(model) if handler else model, self.args, self.kwargs)
        except Failed as error:
            if not enumerated or isinstance(error, NeedsGradients):
                raise
            raise not_at_once(next(iter(enumerated)), error) from as_raised(error)

    def joint(self, num_chains: int, given: poutine.Trace) -> poutine.Trace:
        """Return the model's trace at given latents, with enumerated ones taking all their values."""
        return self.model(num_chains, partial(poutine.replay, trace=given), sum_out=True)

    def one(self) -> tuple[poutine.Trace, poutine.Trace]:
        """Return a draw of the guide and the model's trace there, without a dimension for chains.

        The traces are those of the examination, unless latents are to be summed out of them.
        """
        if self.examined is not None and not self.structure.enumerated:
            return self.examined.guide, self.examined.model
        single = self.single()
        guide = self.examined.guide if self.examined is not None else single.guide(1)
        return guide, single.joint(1, guide)
