"""The plates of a site, and its draws with a dimension for each of them and no other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

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

    def by_unit(self, draws: Tensor, unit: str | None) -> Tensor:
        """Return draws ``K | plates | event`` as (K, U, R), with R numbers of each unit in their order."""
        axis = self.axis(unit)
        grouped = draws.unsqueeze(1) if axis is None else draws.movedim(axis, 1)
        return grouped.reshape(*grouped.shape[:2], -1)

    def within_unit(self, shape: Sequence[int], unit: str | None) -> list[int]:
        """Return the sizes of a site's dimensions behind the draws without that of the units."""
        axis = self.axis(unit)
        return [size for i, size in enumerate(shape, start=1) if i != axis]

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


def labels(name: str, shape: Sequence[int]) -> list[str]:
    """Return a name for each number of a site: the site's, and its place.

    >>> labels("z", (2, 1)), labels("mean", ())
    (['z[0, 0]', 'z[1, 0]'], ['mean'])
    """
    if not shape:
        return [name]
    return [f"{name}[{', '.join(map(str, place))}]" for place in product(*map(range, shape))]


def layouts_of(sites: Mapping[str, Site]) -> dict[str, SiteLayout]:
    """Return the layout of each site."""
    return {name: SiteLayout.of(site) for name, site in sites.items()}
