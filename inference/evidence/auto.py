"""Importance sampling where its weights can be trusted, annealing where they cannot."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.annealed import Annealed
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import Estimator, Figures, Method, Tick, complete
from pyro_vae.inference.evidence.tiles import UNITS
from pyro_vae.program.bound_program import BoundProgram

REPLACED = ("log_evidence", "standard_error", "ess", "pareto_k", "acceptance")
BIASED = ("smoothed", "jackknife")
SHARE = 0.2  # of a tile's work that importance sampling is taken for


@dataclass(frozen=True)
class Auto(Method):
    """Importance sampling; the units of which its weights give no honest error go on to annealing.

    Where annealing is not for the program, importance sampling is all, and a note names such units.

    Where these are more than half of the units of a tile, all of them do: an error is an estimate itself,
    and lets some units pass whose weights are as bad as the others'.

    Which they are is read off the weights themselves, so the estimate is not unbiased any more and there
    is no certificate.

    :param annealed: how the bad units are annealed, with ``num_chains`` each.
    """

    importance: Importance = field(default_factory=Importance)
    annealed: Annealed = field(default_factory=Annealed)
    num_chains: int = Annealed.num_particles

    num_particles = Importance.num_particles
    tile = UNITS
    is_unbiased = False

    @property
    def described(self) -> str:
        return f"{self.importance.described}; where its weights are bad, {self.annealed.described}"

    def estimator(
        self, example: BoundProgram, num_particles: int, max_memory: int | None
    ) -> Estimator:
        weigh = self.importance.estimator(example, num_particles, max_memory)
        anneal: Estimator | None = None
        with contextlib.suppress(InputError):  # a note says why, where it was wanted
            anneal = self.annealed.estimator(example, self.num_chains, max_memory)

        def estimate(call: BoundProgram, tick: Tick) -> Iterator["Merged"]:
            figures = complete(weigh(call, lambda share: tick(SHARE * share))).figures()
            is_bad = without_error(figures)
            if 2 * is_bad.sum() > len(is_bad):  # what passes is no better then
                is_bad = torch.ones_like(is_bad)
            bad = is_bad.nonzero().squeeze(-1)
            if anneal is None or not len(bad):
                tick(1 - SHARE)
                yield Merged(num_particles, figures, bad[:0], {})
                return
            some = call.some(bad)
            better = complete(anneal(some, lambda share: tick((1 - SHARE) * share))).figures()
            if some is call:
                better = {name: figure[bad] for name, figure in better.items()}
            yield Merged(num_particles, figures, bad, better)

        return estimate

    def notes(self, figures: Figures, example: BoundProgram) -> tuple[str, ...]:
        annealed, units = int(figures["annealed"].sum()), len(figures["annealed"])
        words = (
            f"{annealed:,} of {units:,} units were annealed, with {self.num_chains} chains each, for a few "
            "importance weights decided their figures, or those of most in their tile; the bounds over K "
            "are those of importance sampling",
        )
        if annealed:
            return words + self.annealed.notes(figures, example)
        left = int(without_error(figures).sum())
        return (self._left(left, units, example),) if left else ()

    def _left(self, left: int, units: int, example: BoundProgram) -> str:
        words = f"{left:,} of {units:,} units have bad importance weights and could not be annealed"
        try:
            self.annealed.estimator(example, self.num_chains, None)
        except InputError as error:
            words += f": {error}"
        return words


def without_error(figures: Figures) -> Tensor:
    """Which units have a figure and no honest error."""
    return figures["standard_error"].isnan() & figures["log_evidence"].isfinite()


@dataclass(frozen=True)
class Merged:
    """The figures of importance sampling, and in the place of the bad ones those of annealing."""

    count: int
    weighted: Figures
    bad: Tensor
    annealed: Figures

    def figures(self) -> Figures:
        merged = {name: f for name, f in self.weighted.items() if name not in BIASED}
        shape = merged["log_evidence"]
        merged["annealed"] = torch.zeros_like(shape).index_fill(0, self.bad, 1.0)
        merged["acceptance"] = torch.full_like(shape, math.nan)
        for name in REPLACED if self.annealed else ():
            merged[name] = merged[name].index_copy(0, self.bad, self.annealed[name])
        return merged
