"""Exchangeable labels: indices of plates and event axes that can change their order together.

A mixture whose components have one prior has the same density in any order of its components, and so do
topics and the states of a hidden Markov model. Which axes belong together, the model itself shows: their
indices are exchanged, and its log-density stays.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.symmetry import Probes, Symmetry, Values
from pyro_vae.program.trace import Site, observed_sites

MOST_LABELS = 5  # of which there are 120 orders
MOST_AXES = 8  # of one size, of which all subsets are tried

Order = tuple[int, ...]


@dataclass(frozen=True)
class Labels(Symmetry):
    """Hold K labels that can change their order.

    Attributes:
        name: of a plate whose indices they are, or else of a latent.
        size: K.
        axes: of each latent, its value's dimensions that they run along, counted from the right.
    """

    name: str
    size: int
    axes: Mapping[str, tuple[int, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.axes)

    @property
    def words(self) -> str:
        return (
            f"the labels of {self.name!r} are exchangeable: a draw has the same density in all "
            f"{self.size}! orders"
        )

    def maps(self) -> list[Order]:
        """Return all orders, the given one first."""
        return list(itertools.permutations(range(self.size)))

    def moved(self, values: Values, by: Order) -> dict[str, Tensor]:
        """Return values whose labels are taken in another order.

        >>> labels = Labels("components", 2, {"loc": (-1,)})
        >>> labels.moved({"loc": torch.tensor([3.0, 4.0])}, (1, 0))
        {'loc': tensor([4., 3.])}
        """
        found = dict(values)
        for name, dims in self.axes.items():
            for dim in dims:
                index = torch.tensor(by, device=found[name].device)
                found[name] = found[name].index_select(dim, index)
        return found

    def shares_axes(self, other: "Labels") -> bool:
        """Return whether both run along an axis."""
        return any(set(dims) & set(other.axes.get(name, ())) for name, dims in self.axes.items())

    def neighbours(self) -> Iterator[Order]:
        """Yield the exchanges of neighbours, from which all orders follow."""
        for first in range(self.size - 1):
            order = list(range(self.size))
            order[first], order[first + 1] = order[first + 1], order[first]
            yield tuple(order)


def exchangeable_labels(probes: Probes) -> Iterator[Labels]:
    """Yield the sets of two to five labels whose order the model's log-density does not depend on.

    Candidates are the plates without data and the event axes of one size; from one axis up, all sets of
    them are tried.
    """
    found = list[Labels]()
    for labels in _candidates(probes.sites, _plates_of_data(probes.bound_program)):
        if any(labels.shares_axes(other) for other in found):
            continue
        if all(probes.stay(partial(labels.moved, by=order)) for order in labels.neighbours()):
            found.append(labels)
            yield labels


def _plates_of_data(bound_program: BoundProgram) -> set[str]:
    sites = observed_sites(bound_program.model(1, sum_out=True)).values()
    return {frame.name for site in sites for frame in site["cond_indep_stack"]}


def _candidates(sites: Mapping[str, Site], of_data: set[str]) -> Iterator[Labels]:
    """Yield sets of axes of one size, the small ones first."""
    by_size: dict[int, dict[str, dict[str, tuple[int, ...]]]] = {}
    for name, site in sites.items():
        event = site["fn"].event_dim
        for frame in site["cond_indep_stack"]:
            if frame.vectorized and frame.name not in of_data:
                axes = by_size.setdefault(frame.size, {}).setdefault(frame.name, {})
                axes[name] = (frame.dim - event,)
        for dim in range(-event, 0):
            size = site["value"].shape[dim]
            by_size.setdefault(size, {})[f"{name}[{dim}]"] = {name: (dim,)}
    for size in range(2, MOST_LABELS + 1):
        parts = by_size.get(size, {})
        for count in range(1, len(parts) + 1 if len(parts) <= MOST_AXES else 1):
            for chosen in itertools.combinations(parts, count):
                axes = dict[str, tuple[int, ...]]()
                for part in chosen:
                    for name, dims in parts[part].items():
                        axes[name] = (*axes.get(name, ()), *dims)
                plates = [part for part in chosen if "[" not in part]
                yield Labels([*plates, next(iter(axes))][0], size, axes)
