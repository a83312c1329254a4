"""A program bound to the arguments of one call, and many chains of it at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.program.contract import Program
from pyro_vae.program.particles import (
    Particles,
    draw,
    draw_by_vmap,
    draw_one_by_one,
    particle_plate,
    replay,
)
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import run

if TYPE_CHECKING:
    from pyro_vae.program.examination import Examination
    from pyro_vae.program.probe import Traces

T = TypeVar("T")


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
        tensors = (a for a in (*self.args, *self.kwargs.values()) if isinstance(a, Tensor))
        parameters = (p for module in self.program.modules.values() for p in module.parameters())
        return next((t.device for t in (*tensors, *parameters)), torch.device("cpu"))

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

    def draw(self, num_particles: int, at_once: int | None = None) -> Particles:
        """Draw from the guide and weigh, in the way that the call runs many chains."""
        bound_program, kwargs = (
            (self.program, self.structure, num_particles, *self.args),
            self.kwargs,
        )
        if self.vectorized:
            return draw(*bound_program, at_once=at_once, **kwargs)
        drawn = self.try_vmap(lambda: draw_by_vmap(*bound_program, at_once=at_once, **kwargs))
        return draw_one_by_one(*bound_program, **kwargs) if drawn is None else drawn

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

    def guide(self, num_chains: int, handler: Callable[..., Any] | None = None) -> poutine.Trace:
        """Return the guide's trace, with a handler around the guide."""
        guide = self.chains(self.program.guide, num_chains)
        return run("guide", handler(guide) if handler else guide, self.args, self.kwargs)

    def joint(self, num_chains: int, given: poutine.Trace) -> poutine.Trace:
        """Return the model's trace at given latents, with enumerated ones taking all their values."""
        model = self.chains(self.program.model, num_chains)
        return replay(model, given, self.structure, *self.args, **self.kwargs)

    def one(self) -> tuple[poutine.Trace, poutine.Trace]:
        """Return a draw of the guide and the model's trace there, without a dimension for chains.

        The traces are those of the examination, unless latents are to be summed out of them.
        """
        if self.examined is not None and not self.structure.enumerated:
            return self.examined.guide, self.examined.model
        single = self.single()
        guide = self.examined.guide if self.examined is not None else single.guide(1)
        return guide, single.joint(1, guide)
