"""Importance sampling: the evidence of each unit, from draws of the guide, in parts of them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from pyro_vae import argument_checks as checks
from pyro_vae.allocations import Allocations
from pyro_vae.errors import must_be, true_or_false
from pyro_vae.inference.checks.density import check_map
from pyro_vae.inference.checks.noise import check_steady
from pyro_vae.inference.checks.support import check_proposal
from pyro_vae.inference.evidence.compiled_draws import fastest_draw
from pyro_vae.inference.evidence.defensive import Mixture, draw_defensively
from pyro_vae.inference.evidence.draws import Drawer, DrawsPosterior, WeightedDraws, joined
from pyro_vae.inference.evidence.method import (
    Advance,
    Estimator,
    Method,
    UnitEstimates,
    Workload,
    part_size,
)
from pyro_vae.inference.evidence.missed_copies import Missed, missed_by_guide, symmetrized_note
from pyro_vae.inference.evidence.tiles import fitting_particles
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.particles import Particles, draw
from pyro_vae.program.symmetries import symmetries

REACHES_ALL = "Importance(symmetrize=True), or SMC(start='prior'), reaches them all"
MAX_MEMORY = {"cpu": 2**25, "cuda": 2**32}  # the CPU's is about the size of its caches


def _check_share(name: str, share: Any) -> None:
    if checks.number(name, share, least=0) >= 1:
        raise must_be(name, "a number of at least 0 and below 1", share)


@dataclass(frozen=True)
class Importance(Method, DrawsPosterior):
    """Weigh K draws of the guide for each unit: importance sampling.

    log p(x) ~ log (1/K) sum_k p(x, z_k) / q(z_k | x), with z_k from the guide. Exactly K weights are used;
    the memory cuts them into parts, which changes only the rounding. With ``prior_share`` s, the proposal
    is the mixture (1 - s) q(z | x) + s p(z) of whole units' latents, so no weight exceeds p(x | z) / s,
    however narrow the guide is. With ``symmetrize``, q is mixed over all symmetric copies of a draw: all
    orders of exchangeable labels (at most five of a kind), as of the components of a mixture, and both
    signs of latents that the model knows up to their sign. A guide that sits on one of these modes then
    reaches all of them.

    Args:
        prior_share: share of the particles from the prior, which bounds the weights.
        symmetrize: whether to mix the guide over the copies by symmetries that the model shows.

    Source: of the mixture with the prior: T. Hesterberg, "Weighted average importance sampling and
    defensive mixture distributions", 1995, https://doi.org/10.1080/00401706.1995.10484303.
    """

    prior_share: float = 0.0
    symmetrize: bool = False

    num_particles = 1000
    times_jointly = 4  # one figure costs as little as one row's, and half its error is worth it
    num_chains = 1
    rests_on_guide = True
    per_draw = (
        4  # half of the weight is often lost: then means are within 0.1 sd, and sds within 10 %
    )

    def __post_init__(self) -> None:
        checks.check_arguments(
            {"prior_share": _check_share, "symmetrize": true_or_false}, vars(self)
        )

    @property
    def description(self) -> str:
        orders = " in all symmetric copies" if self.symmetrize else ""
        if self.prior_share:
            return f"importance sampling from guide{orders} and, for {self.prior_share:.0%}, prior"
        return f"importance sampling from the guide{orders}"

    def estimator(self, example: BoundProgram, work: Workload) -> Estimator:
        blocks, num_particles = self._blocks(example, work), work.num_particles

        def estimate(bound_program: BoundProgram, advance: Advance) -> Iterator[WeightSums]:
            sums = WeightSums.of(bound_program, num_particles)
            for block in blocks(bound_program):
                sums.add(block.log_weights)
                advance(len(block.log_weights) / num_particles)
                yield sums

        return estimate

    def drawer(self, example: BoundProgram, work: Workload) -> Drawer:
        blocks = self._blocks(example, work)

        def draw(bound_program: BoundProgram, advance: Advance) -> WeightedDraws:
            parts = []
            for block in blocks(bound_program):
                parts.append(WeightedDraws(block.latents, block.log_weights))
                advance(len(block.log_weights) / work.num_particles)
            return joined(parts)

        return draw

    def _blocks(
        self, example: BoundProgram, work: Workload
    ) -> Callable[[BoundProgram], Iterator[Particles]]:
        """Return what draws and weighs the K particles of a tile, block by block, each with its seed.

        Raises:
            InputError: the guide does not suit the model.
        """
        example = self._checked(example)
        check_steady(example)
        check_map(example)
        per_weight = bytes_per_particle(self, example) / example.structure.num_units
        max_weights = work.memory(example.device, MAX_MEMORY) / per_weight
        num_particles, weigh = work.num_particles, self.draw
        most = fitting_particles(per_weight, max(work.tile_sizes, default=1), example.device)
        together = part_size(num_particles, work.together or most)
        if not self.prior_share and not self.symmetrize:
            weigh = fastest_draw(self.draw, work, max_weights)

        def blocks(bound_program: BoundProgram) -> Iterator[Particles]:
            bound_program = self._checked(bound_program)
            at_once = 1 << int(math.log2(max(1, max_weights / bound_program.structure.num_units)))
            base = int(torch.randint(2**31, ()))
            for first in range(0, num_particles, together):
                seed_all(base + first)
                yield weigh(bound_program, min(together, num_particles - first), at_once)

        return blocks

    def _checked(self, bound_program: BoundProgram) -> BoundProgram:
        return check_proposal(bound_program, narrower_too=not self.prior_share)

    def notes(self, estimates: UnitEstimates, example: BoundProgram) -> tuple[str, ...]:
        beyond = check_proposal(example, narrower_too=False).structure.beyond
        outside = tuple(
            f"the guide draws values of {name!r} where the prior has no density: their weights are 0"
            for name in beyond
        )
        how = "The guide was mixed over all copies"
        return outside + (symmetrized_note(example, how) if self.symmetrize else ())

    def missed(self, example: BoundProgram, num_particles: int) -> Missed | None:
        if self.symmetrize or self.prior_share:
            return None
        return missed_by_guide(example, num_particles, REACHES_ALL)

    def draw(
        self, bound_program: BoundProgram, num_particles: int, at_once: int | None = None
    ) -> Particles:
        """Return draws of the proposal; the model scores ``at_once`` of them at a time."""
        found = symmetries(bound_program) if self.symmetrize else ()
        if self.prior_share or found:
            mixture = Mixture(self.prior_share, found)
            return draw_defensively(bound_program, mixture, num_particles, at_once)
        return draw(bound_program, num_particles, at_once)


def bytes_per_particle(method: Importance, bound_program: BoundProgram) -> int:
    """Return the bytes that one more particle of a call allocates, with temporary tensors."""
    sizes = []
    for count in (1, 3):
        with Allocations() as allocations:
            method.draw(bound_program, count)
        sizes.append(allocations.bytes)
    return max(1, (sizes[1] - sizes[0]) // 2)
