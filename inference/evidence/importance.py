"""Importance sampling: the evidence of each unit, from draws of the guide, in constant memory."""

import contextlib
import ctypes
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_vae.errors import InputError
from pyro_vae.inference.checks.density import check_map
from pyro_vae.inference.checks.noise import check_steady
from pyro_vae.inference.checks.support import check_proposal
from pyro_vae.inference.evidence.defensive import draw_defensively
from pyro_vae.inference.evidence.method import Estimator, Figures, Method, Tick, memory
from pyro_vae.inference.evidence.weights import WeightSums
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.particles import Particles

# Units and particles are drawn in tiles of these sizes, each from its own seed; so neither the memory
# that there is nor which machine works off which tile can change a figure.
TILE_UNITS, TILE_PARTICLES = 64, 512
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of GNU's malloc.h
MAX_MEMORY = {"cpu": 2**25, "cuda": 2**32}  # the CPU's is about what its caches hold


@dataclass(frozen=True)
class Importance(Method):
    """log p(x) ~ log (1/K) sum_k p(x, z_k) / q(z_k | x), with z_k from the guide.

    Exactly K weights are used, and how memory cuts them into parts changes nothing but rounding.

    :param prior_share: the share s of particles that come from the prior. The proposal is then the
        mixture (1 - s) q(z | x) + s p(z) of whole units' latents, so that no weight exceeds
        p(x | z) / s however narrow the guide is: T. Hesterberg, "Weighted average importance sampling
        and defensive mixture distributions", 1995, https://doi.org/10.1080/00401706.1995.10484303.
    """

    prior_share: float = 0.0

    num_particles = 1000
    tile = {"cpu": TILE_UNITS, "cuda": 8 * TILE_UNITS}  # noqa: RUF012 - nobody writes to it

    def __post_init__(self) -> None:
        if not isinstance(self.prior_share, int | float) or not 0 <= self.prior_share < 1:
            raise InputError(f"prior_share must lie between 0 and 1, not {self.prior_share}")

    @property
    def described(self) -> str:
        if self.prior_share:
            return f"importance sampling from guide and, for {self.prior_share:.0%}, prior"
        return "importance sampling from the guide"

    def estimator(
        self, example: BoundProgram, num_particles: int, max_memory: int | None
    ) -> Estimator:
        example = check_proposal(example, narrower_too=not self.prior_share)
        check_steady(example)
        check_map(example)
        keep_freed_pages()
        per_weight = bytes_per_particle(self, example) / example.structure.num_units
        weights_at_once = memory(max_memory, example.device, MAX_MEMORY) / per_weight

        def estimate(call: BoundProgram, tick: Tick) -> Iterator[WeightSums]:
            call = check_proposal(call, narrower_too=not self.prior_share)
            units = call.structure.num_units
            sums = WeightSums(num_particles, units, call.device)
            at_once = 1 << int(math.log2(max(1, weights_at_once / units)))
            base = int(torch.randint(2**31, ()))
            for first in range(0, num_particles, TILE_PARTICLES):
                seed_all(base + first)
                count = min(TILE_PARTICLES, num_particles - first)
                sums.add(self.draw(call, count, at_once).log_weights)
                tick(count / num_particles)
                yield sums

        return estimate

    def notes(self, figures: Figures, example: BoundProgram) -> tuple[str, ...]:
        return tuple(
            f"the guide draws values of {name!r} where the prior has nothing: these draws weigh nothing"
            for name in check_proposal(example, narrower_too=False).structure.beyond
        )

    def draw(self, call: BoundProgram, num_particles: int, at_once: int | None = None) -> Particles:
        if self.prior_share:
            return draw_defensively(call, self.prior_share, num_particles, at_once)
        return call.draw(num_particles, at_once)


def keep_freed_pages() -> None:
    """Makes the C library keep what is freed, up to 256 MB, for what is allocated next.

    Every chunk frees what the next one needs, and fresh pages cost as much time as half the decoder.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library than GNU's
        for parameter, value in ((M_MMAP_THRESHOLD, 2**25), (M_TRIM_THRESHOLD, 2**28)):
            ctypes.CDLL(None).mallopt(parameter, value)


class Allocated(TorchDispatchMode):
    """Counts the bytes of every tensor that is made inside, freed or not."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not (func.is_view or func._schema.is_mutable):
            self.bytes += result.untyped_storage().nbytes()
        return result


def bytes_per_particle(method: Importance, call: BoundProgram) -> int:
    """What one more particle of a call allocates, all that is freed on the way included."""
    sizes = []
    for count in (1, 3):
        with Allocated() as allocated:
            method.draw(call, count)
        sizes.append(allocated.bytes)
    return max(1, (sizes[1] - sizes[0]) // 2)
