"""Unconstrained coordinates: a program's continuous latents as one vector for each chain and unit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions.transforms import IndependentTransform, Transform

from pyro_vae.errors import InputError
from pyro_vae.program.bijections import biject
from pyro_vae.program.log_prob import unit_sum
from pyro_vae.program.masks import mask_of
from pyro_vae.program.structure import Structure
from pyro_vae.program.support import support_of
from pyro_vae.program.trace import Site, shape_of
from pyro_vae.program.wrappers import declared_events, innermost


class Immovable(InputError):
    """Report that nothing can move over a site's support; ``fact`` says why, for any purpose."""

    def __init__(self, name: str, fact: str, remedy: str) -> None:
        super().__init__(
            f"{fact}, and annealing moves over a known, continuous range",
            subject=name,
            expected="a known, continuous range",
            remedy=remedy,
        )
        self.fact = fact


IMPORTANCE = "estimate the evidence by importance sampling"


def bijection(name: str, fn: Any) -> Transform:
    """Return the map from unconstrained numbers onto the support of a site's distribution.

    Raises:
        Immovable: there is none.
    """
    support = known_support(name, fn)
    try:
        if not support.is_discrete:
            return biject(support)
    except NotImplementedError as error:
        fact = f"the support of site {name!r} ({support}) has no map from unconstrained numbers"
        raise Immovable(name, fact, IMPORTANCE) from error
    raise Immovable(
        name,
        f"site {name!r} is discrete and not summed out",
        "leave it out of the guide and have it summed out by "
        f'`infer={{"enumerate": "parallel"}}` in the model, or {IMPORTANCE}',
    )


def known_support(name: str, fn: Any) -> Any:
    """Return the support of a distribution.

    Raises:
        Immovable: the distribution, of a user's class perhaps, has none.
    """
    try:
        return support_of(fn)
    except (NotImplementedError, AttributeError) as error:
        raise Immovable(
            name,
            f"the distribution of site {name!r} ({type(innermost(fn)).__name__}) has no support",
            "give it one (`support = constraints.real`), or estimate by importance sampling",
        ) from error


def num_coordinates(name: str, site: Site, structure: Structure) -> int:
    """Return how many numbers move a site, in all units together; of a discrete one, how many it has."""
    fn = site["fn"]
    plates = fn.batch_shape[-1 - structure.max_plate_nesting :]  # enumeration lies further left
    shape = torch.Size((*plates, *fn.event_shape))
    if known_support(name, fn).is_discrete:
        return int(shape.numel())
    return int(bijection(name, fn).inverse_shape(shape).numel())


def num_counted(name: str, site: Site, structure: Structure) -> Tensor:
    """Return how many numbers of each unit move a site, (1, U), without those that a mask takes out."""
    fn, free = site["fn"], {**site, "mask": None}
    counts = mask_of(site).expand(shape_of(fn)).double()
    each = counts.reshape(*fn.batch_shape, -1).mean(-1)
    share = unit_sum(free, each, structure) / unit_sum(free, torch.ones_like(each), structure)
    return share * (num_coordinates(name, site, structure) / structure.num_units)


def everything_counts(site: Site) -> bool:
    """Return whether no mask takes anything of a site out, and no value is missing."""
    return bool(mask_of(site).all()) and not bool(site["value"].isnan().any())


@dataclass(frozen=True)
class Block:
    """Say where one site's unconstrained value lies among a unit's coordinates."""

    columns: slice
    plates: tuple[int, ...]  # sizes of the program's plates, without particles
    missing: int  # how many plates on the left the site does not lie in
    event: tuple[int, ...]  # shape of the unconstrained value of one draw
    dtype: torch.dtype
    counts: Tensor  # (U, draws of a unit, or their numbers): False where a mask takes one out


class Coordinates:
    """Lay unconstrained values out in a tensor (chains K, units U, coordinates D).

    ``free`` (U, D) is False where a mask takes a site out: its value has no density, and stays.

    Args:
        sites: of a trace with one chain.
        structure: their plates.
        vectorized: whether the trace has a dimension for chains on the left of the plates.
    """

    def __init__(self, sites: Mapping[str, Site], structure: Structure, vectorized: bool) -> None:
        self.structure, self.vectorized = structure, vectorized
        self.blocks: dict[str, Block] = {}
        free, size = [], 0
        for name, site in sites.items():
            batch = tuple(site["fn"].batch_shape)[vectorized:]
            missing = structure.max_plate_nesting - len(batch)
            raw = self._raw(name, site)
            event = tuple(raw.shape[1 + structure.max_plate_nesting :])
            flat = self.flatten(raw)
            columns = slice(size, size + flat.shape[-1])
            plates = (1,) * missing + batch
            counts = self.flatten(self._padded(_draws_that_count(site), missing))[0]
            self.blocks[name] = Block(columns, plates, missing, event, raw.dtype, counts)
            free.append(counts.repeat_interleave(flat.shape[-1] // counts.shape[-1], -1))
            size = columns.stop
        none = torch.ones(structure.num_units, 0, dtype=torch.bool, device=structure.device)
        self.free = torch.cat(free, -1) if free else none
        self.size = size

    def of(self, sites: Mapping[str, Site]) -> Tensor:
        """Return the coordinates (K, U, D) of the sites' values in a trace."""
        parts = [self.flatten(self._raw(name, sites[name])) for name in self.blocks]
        none = torch.zeros(1, self.structure.num_units, 0, device=self.free.device)
        return torch.cat(parts, -1) if parts else none

    def raw_values(self, u: Tensor) -> dict[str, Tensor]:
        """Return each site's unconstrained value, in the shape that it has in its trace."""
        return {name: self._unflatten(u, block) for name, block in self.blocks.items()}

    def flatten(self, value: Tensor) -> Tensor:
        """Reshape (K, plates, ...) -> (K, U, the rest)."""
        if self.structure.unit is None:
            value = value.unsqueeze(1)
        else:
            value = value.movedim(1 + self.structure.max_plate_nesting + self.structure.dim, 1)
        return value.unsqueeze(-1).flatten(2)

    def total(self, per_value: Tensor, block: Block) -> Tensor:
        """Return a site's log-density, for draws or their numbers, summed to (K, U) where it counts."""
        flat = self.flatten(self._padded(per_value, block.missing))
        counts = block.counts.repeat_interleave(flat.shape[-1] // block.counts.shape[-1], -1)
        return torch.where(counts, flat, 0.0).sum(-1)

    def _unflatten(self, u: Tensor, block: Block) -> Tensor:
        columns, plates = u[..., block.columns].to(block.dtype), list(block.plates)
        if self.structure.unit is None:
            value = columns.reshape(len(u), *plates, *block.event)
        else:
            unit = self.structure.max_plate_nesting + self.structure.dim
            units = plates.pop(unit)
            value = columns.reshape(len(u), units, *plates, *block.event).movedim(1, 1 + unit)
        # a site outside the chains, or outside the outer plates, has no dimension for them
        return value if self.vectorized else value.reshape(value.shape[1 + block.missing :])

    def _raw(self, name: str, site: Site) -> Tensor:
        fn = site["fn"]
        shape, value = shape_of(fn), site["value"]
        while value.dim() > len(shape) and len(value) == 1:  # an AutoGuide's, of a single number
            value = value.squeeze(0)
        raw: Tensor = bijection(name, fn).inv(value.expand(shape))
        batch = len(fn.batch_shape) - self.vectorized
        return self._padded(raw, self.structure.max_plate_nesting - batch)

    def _padded(self, value: Tensor, missing: int) -> Tensor:
        if self.vectorized:
            return value
        return value.reshape(1, *(1,) * missing, *value.shape)


def _draws_that_count(site: Site) -> Tensor:
    """Return a site's mask over its draws, ``batch |``, and over the events that it separates."""
    fn, mask = site["fn"], mask_of(site)
    events = mask.shape[mask.dim() - fn.event_dim :]
    if events.numel() > 1:
        declared = declared_events(fn)
        events = fn.event_shape[:declared] + (1,) * (fn.event_dim - declared)
    return mask.expand(fn.batch_shape + events)


class Placement(Messenger):
    """Give each site its value from coordinates (K, U, D), by the bijection onto its support.

    The support is that of the site's distribution in the current run, so it may depend on other latents.
    ``log_jacobian`` (K, U) becomes the log-determinant of all the maps.
    """

    def __init__(self, coordinates: Coordinates, u: Tensor) -> None:
        super().__init__()
        self.coordinates, self.raw = coordinates, coordinates.raw_values(u)
        self.log_jacobian = u.new_zeros(u.shape[:2])

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.raw:
            msg["value"] = self.place(msg["name"], msg["fn"])
            msg["done"] = True

    def place(self, name: str, fn: Any) -> Tensor:
        """Return the value at one site, given its distribution."""
        raw, to_support = self.raw[name], bijection(name, fn)
        value: Tensor = to_support(raw)
        block = self.coordinates.blocks[name]
        if value.dim() - fn.event_dim > len(block.plates) + 1:
            raise InputError(
                f"the support of site {name!r} depends on a latent that is summed out, so the site has no "
                "single range to move in",
                subject=name,
                remedy=IMPORTANCE,
            )
        while isinstance(to_support, IndependentTransform):  # a mask may lie within the event
            to_support = to_support.base_transform
        log_det = to_support.log_abs_det_jacobian(raw, value)
        self.log_jacobian = self.log_jacobian + self.coordinates.total(log_det, block)
        return value
