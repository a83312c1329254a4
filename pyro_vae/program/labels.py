"""Exchangeable labels: indices of plates and event axes that can change their order together.

A mixture whose components have one prior has the same density in any order of its components, and so do
topics and the states of a hidden Markov model. Which axes belong together, the model itself shows: their
indices are exchanged, and its log-density stays.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.generators import generators_as_found
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.particles import score_model
from pyro_vae.program.probe import PROBE_SEED, moves
from pyro_vae.program.trace import Site, latent_sites, observed_sites

MOST_LABELS = 5  # of which there are 120 orders
MOST_AXES = 8  # of one size, of which all subsets are tried


@dataclass(frozen=True)
class Labels:
    """Hold K labels that can change their order.

    Attributes:
        name: of a plate whose indices they are, or else of a latent.
        size: K.
        axes: of each latent, its value's dimensions that they run along, counted from the right.
    """

    name: str
    size: int
    axes: Mapping[str, tuple[int, ...]]

    def in_order(self, values: Mapping[str, Tensor], order: tuple[int, ...]) -> dict[str, Tensor]:
        """Return values, ``any | plates | event``, whose labels are taken in another order.

        >>> labels = Labels("components", 2, {"loc": (-1,)})
        >>> labels.in_order({"loc": torch.tensor([3.0, 4.0])}, (1, 0))
        {'loc': tensor([4., 3.])}
        """
        found = dict(values)
        for name, dims in self.axes.items():
            for dim in dims:
                index = torch.tensor(order, device=found[name].device)
                found[name] = found[name].index_select(dim, index)
        return found


Order = tuple[tuple[int, ...], ...]  # of each set of labels


def orders(labels: tuple[Labels, ...]) -> list[Order]:
    """Return all orders of all sets of labels together, the given one first."""
    return list(itertools.product(*(itertools.permutations(range(one.size)) for one in labels)))


def in_order(
    values: Mapping[str, Tensor], labels: tuple[Labels, ...], order: Order
) -> dict[str, Tensor]:
    """Return values whose labels are all taken in another order."""
    found = dict(values)
    for one, own in zip(labels, order, strict=True):
        found = one.in_order(found, own)
    return found


def in_random_orders(values: Mapping[str, Tensor], labels: tuple[Labels, ...]) -> dict[str, Tensor]:
    """Return draws, ``S | plates | event``, whose labels are taken in an order of each draw's own.

    >>> labels = Labels("components", 2, {"loc": (-1,)})
    >>> drawn = in_random_orders({"loc": torch.tensor([3.0, 4.0]).expand(1000, 2)}, (labels,))
    >>> 400 < int((drawn["loc"][:, 0] == 3).sum()) < 600
    True
    """
    found, every = dict(values), orders(labels)
    if len(every) == 1:
        return found
    which = torch.randint(len(every), (len(next(iter(values.values()))),))
    for number, one in enumerate(every):
        rows = (which == number).nonzero().squeeze(-1)
        other = in_order({n: v[rows.to(v.device)] for n, v in values.items()}, labels, one)
        for name in {name for own in labels for name in own.axes}:
            found[name] = found[name].index_copy(0, rows.to(found[name].device), other[name])
    return found


def exchangeable_labels(bound_program: BoundProgram) -> tuple[Labels, ...]:
    """Return the sets of two to five labels whose order the model's log-density does not depend on.

    Of latents that all data share. Candidates are the plates without data and the event axes of one size;
    from one axis up, all sets of them are tried, at a draw of the guide and one of the prior. Sets with
    more than 120 orders together are left out, as are values of discrete latents that the guide draws.
    """
    if bound_program.structure.unit is not None:
        return ()
    single, found = bound_program.single(), list[Labels]()
    with generators_as_found(), torch.no_grad(), suppress(InputError):
        seed_all(PROBE_SEED)
        prior = latent_sites(single.model(1, sum_out=True))
        sites = {n: s for n, s in prior.items() if n not in single.structure.enumerated}
        guide = single.guide(1).nodes
        draws = [{n: s["value"] for n, s in sites.items()}, {n: guide[n]["value"] for n in sites}]
        scores = [_log_joint(single, values) for values in draws]
        tried = [(v, s) for v, s in zip(draws, scores, strict=True) if s.isfinite().all()]
        for labels in _candidates(sites, _plates_of_data(single)) if tried else ():
            if log_orders((*found, labels)) > math.lgamma(MOST_LABELS + 1) + 1e-6:
                continue
            if any(_share_axes(labels, other) for other in found):
                continue
            if all(_is_free(single, labels, values, score) for values, score in tried):
                found.append(labels)
    return tuple(found)


def _is_free(
    bound_program: BoundProgram, labels: Labels, values: Mapping[str, Tensor], score: Tensor
) -> bool:
    """Return whether neighbours can change places; all orders follow from that."""
    for first in range(labels.size - 1):
        order = list(range(labels.size))
        order[first], order[first + 1] = order[first + 1], order[first]
        other = _log_joint(bound_program, labels.in_order(values, tuple(order)))
        if bool(moves(score, other).any()):
            return False
    return True


def _log_joint(bound_program: BoundProgram, values: Mapping[str, Tensor]) -> Tensor:
    given, prior = score_model(bound_program.joint(1, trace_of(values)), bound_program.structure, 1)
    return given + prior


def trace_of(values: Mapping[str, Tensor]) -> poutine.Trace:
    """Return a trace to replay, with values of latents."""
    trace = poutine.Trace()
    for name, value in values.items():
        trace.add_node(name, name=name, type="sample", value=value, is_observed=False, infer={})
    return trace


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


def _share_axes(one: Labels, other: Labels) -> bool:
    return any(set(dims) & set(other.axes.get(name, ())) for name, dims in one.axes.items())


def sentence(labels: tuple[Labels, ...]) -> str:
    """Return the labels and the number of their orders in words."""
    names = " and ".join(repr(one.name) for one in labels)
    sizes = " ".join(f"{one.size}!" for one in labels)
    return (
        f"the labels of {names} are exchangeable: a draw has the same density in all {sizes} orders"
    )


def log_orders(labels: tuple[Labels, ...]) -> float:
    """Return the log of the number of orders, nats."""
    return sum(math.lgamma(one.size + 1) for one in labels)
