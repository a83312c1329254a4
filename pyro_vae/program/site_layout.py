"""The plates of a site, and its draws with a dimension for each of them and no other."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pyro_vae.program.structure import PARTICLES, Structure
from pyro_vae.program.trace import Site


@dataclass(frozen=True)
class SiteLayout:
    """Hold the plates that a site lies in, from the left, and where the program has their dimensions.

    Attributes:
        plates: their names.
        dims: their dimensions, counted from the right of the batch.
        event_dim: how many dimensions a single draw has.
    """

    plates: tuple[str, ...]
    dims: tuple[int, ...]
    event_dim: int

    @classmethod
    def of(cls, site: Site) -> "SiteLayout":
        """Return the layout of a site in a trace."""
        frames = {
            frame.dim: frame.name
            for frame in site["cond_indep_stack"]
            if frame.vectorized and frame.name != PARTICLES
        }
        dims = tuple(sorted(frames))
        return cls(tuple(frames[dim] for dim in dims), dims, site["fn"].event_dim)

    def axis(self, plate: str | None) -> int | None:
        """Return the dimension of a plate among draws ``K | plates | event``; None outside of it."""
        return 1 + self.plates.index(plate) if plate in self.plates else None

    def named(
        self, value: Tensor, num_particles: int, structure: Structure, has_plate: bool
    ) -> Tensor:
        """Return draws as the program shapes them, ``K | batch | event``, as ``K | plates | event``.

        Args:
            value: the draws; without K where all particles share one.
            num_particles: K.
            structure: of the call.
            has_plate: whether the particles have a plate, left of all others.
        """
        event = tuple(value.shape[value.dim() - self.event_dim :])
        batch = list(value.shape[: value.dim() - self.event_dim])
        depth = structure.max_plate_nesting
        if has_plate:
            batch = [1] * (depth + 1 - len(batch)) + batch
        else:
            batch = batch[:1] + [1] * (depth + 1 - len(batch)) + batch[1:]
        sizes = [1] * depth
        for name, dim in zip(self.plates, self.dims, strict=True):
            sizes[dim] = structure.plates[name]
        whole = value.reshape(*batch, *event).expand(num_particles, *sizes, *event)
        return whole.reshape(num_particles, *(sizes[dim] for dim in self.dims), *event)

    def placed(self, draws: Tensor, structure: Structure, has_plate: bool) -> Tensor:
        """Return draws ``K | plates | event`` as the program shapes them, ``K | batch | event``."""
        depth = structure.max_plate_nesting if has_plate else -min(self.dims, default=0)
        sizes = [1] * depth
        for size, dim in zip(draws.shape[1:], self.dims, strict=False):
            sizes[dim] = size
        return draws.reshape(len(draws), *sizes, *draws.shape[1 + len(self.dims) :])


def layouts_of(sites: Mapping[str, Site]) -> dict[str, SiteLayout]:
    """Return the layout of each site."""
    return {name: SiteLayout.of(site) for name, site in sites.items()}
