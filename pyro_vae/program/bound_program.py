"""One call of a program, and many chains of it at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.program.contract import Program
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.particles import (
    Pair,
    Particles,
    draw,
    draw_one_by_one,
    pair_together,
    particle_plate,
    replay,
)
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import run
from pyro_vae.program.vmap_particles import draw_by_vmap, why_not_by_vmap


@dataclass(frozen=True)
class BoundProgram:
    """A program, the arguments of one call, and how it runs many chains.

    ``vectorized``: under a plate over chains, left of its own; else as many runs, which ``by_vmap`` are
    made at once. Where neither can be, ``reason`` says what stands in the way of the second.
    """

    program: Program
    structure: Structure
    vectorized: bool
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    by_rows: bool = False  # whether the arguments are rows, any number of which make a call
    by_vmap: bool = False
    reason: str = ""
    examined: Examination | None = None  # the run that showed the layout
    pair: Pair | None = None  # two particles drawn together, where that is right
    noise: str | None = None  # what scores the same latents otherwise the next time, if anything

    @property
    def device(self) -> torch.device:
        tensors = (a for a in (*self.args, *self.kwargs.values()) if isinstance(a, Tensor))
        parameters = (p for module in self.program.modules.values() for p in module.parameters())
        return next((t.device for t in (*tensors, *parameters)), torch.device("cpu"))

    def settled(self) -> "BoundProgram":
        """The call that runs many chains in the fastest way that scores each as a run by itself does."""
        examined = self.examined
        if examined is None:
            examined = examine(self.program, *self.args, strict=False, **self.kwargs)
        examined = replace(examined, structure=self.structure)
        pair = pair_together(examined, *self.args, **self.kwargs)
        if pair is not None:
            return replace(self, vectorized=True, pair=pair)
        reason = why_not_by_vmap(self.program, self.structure, *self.args, **self.kwargs)
        return replace(self, vectorized=False, by_vmap=not reason, reason=reason)

    def some(self, units: Tensor) -> "BoundProgram":
        """The call for some units alone, by number; for all of them, where it cannot be cut."""
        if not self.by_rows:
            return self
        args = tuple(rows[units] for rows in self.args)
        structure = self.structure.resized(len(units))
        return replace(self, structure=structure, args=args, examined=None, pair=None)

    def chains(self, function: Callable[..., Any], num_chains: int) -> Callable[..., Any]:
        if not self.vectorized:
            return function
        chains: Callable[..., Any] = particle_plate(num_chains, self.structure)(function)
        return chains

    def draw(self, num_particles: int, at_once: int | None = None) -> Particles:
        """Draws from the guide, and what they weigh; one by one where it must be."""
        call, kwargs = (self.program, self.structure, num_particles, *self.args), self.kwargs
        if self.vectorized:
            return draw(*call, at_once=at_once, **kwargs)
        if self.by_vmap:  # of data unlike the first, one by one may do, or say why not
            try:
                return draw_by_vmap(*call, at_once=at_once, **kwargs)
            except torch.OutOfMemoryError:
                raise
            except Exception:
                return draw_one_by_one(*call, **kwargs)
        return draw_one_by_one(*call, **kwargs)

    def guide(self, num_chains: int, handler: Callable[..., Any] | None = None) -> poutine.Trace:
        guide = self.chains(self.program.guide, num_chains)
        return run("guide", handler(guide) if handler else guide, self.args, self.kwargs)

    def one(self) -> tuple[poutine.Trace, poutine.Trace]:
        """A draw of the guide, and the model's trace there, both without a dimension for chains.

        Those of the examination, where nothing is to be summed out of them.
        """
        if self.examined is not None and not self.structure.enumerated:
            return self.examined.guide, self.examined.model
        alone = replace(self, vectorized=False, pair=None)
        guide = self.examined.guide if self.examined is not None else alone.guide(1)
        return guide, alone.joint(1, guide)

    def joint(self, num_chains: int, given: poutine.Trace) -> poutine.Trace:
        """The model's trace at given latents, with enumerated ones taking all their values."""
        model = self.chains(self.program.model, num_chains)
        return replay(model, given, self.structure, *self.args, **self.kwargs)
