"""Reflections: latents whose values can be mirrored together.

A signal that is seen squared has the same density with either sign, and so have the loadings and the
scores of a factor. Which latents belong together, the model itself shows: they are mirrored at the centres
of their priors, and its log-density stays.
"""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import constraints

from pyro_vae.program.support import support_of
from pyro_vae.program.symmetry import Probes, Symmetry, Values
from pyro_vae.program.trace import Site
from pyro_vae.program.wrappers import innermost

MOST_SITES = 4  # all subsets of which are tried; of more, each alone and all others together


@dataclass(frozen=True)
class Reflection(Symmetry):
    """Hold latents that can be mirrored together.

    Attributes:
        centres: of each latent, ``plates | event``.
    """

    centres: Mapping[str, Tensor]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.centres)

    @property
    def words(self) -> str:
        names = " and ".join(map(repr, self.names))
        together = " together" if len(self.names) > 1 else ""
        return (
            f"{names} can be mirrored{together}: a draw and its mirror image have the same density"
        )

    def maps(self) -> list[bool]:
        """Return whether to mirror: no, and yes."""
        return [False, True]

    def moved(self, values: Values, by: bool) -> dict[str, Tensor]:
        """Return values, mirrored or not.

        >>> import torch
        >>> Reflection({"slope": torch.tensor(1.0)}).moved({"slope": torch.tensor([3.0, 4.0])}, True)
        {'slope': tensor([-1., -2.])}
        """
        return {
            n: 2 * self.centres[n] - v if by and n in self.centres else v for n, v in values.items()
        }


def reflections(probes: Probes) -> Iterator[Reflection]:
    """Yield the sets of latents whose mirror images have the same density as they.

    None of them is a combination of the others. Candidates are latents on the real line or an interval; the
    centre of each is the mean of its prior, where the latents before it are at their centres.
    """
    centres = _centres(probes)
    known = {frozenset[str]()}  # all combinations of those found
    for names in _candidates(tuple(centres)):
        if names in known:
            continue
        reflection = Reflection({name: centres[name] for name in centres if name in names})
        if probes.stay(partial(reflection.moved, by=True)):
            known |= {other ^ names for other in known}
            yield reflection


def _candidates(names: tuple[str, ...]) -> Iterator[frozenset[str]]:
    """Yield sets of latents, the small ones first."""
    for count in range(1, len(names) + 1):
        if len(names) <= MOST_SITES or count in (1, len(names)):
            yield from map(frozenset, itertools.combinations(names, count))


def _centres(probes: Probes) -> dict[str, Tensor]:
    """Return the centres of the latents that have one, ``plates | event``."""
    handler = _AtCentres(probes.sites)
    probes.bound_program.model(1, handler, sum_out=True)
    return handler.centres


class _AtCentres(Messenger):
    """Put each latent that can be mirrored at its prior's centre."""

    def __init__(self, sites: Mapping[str, Site]) -> None:
        super().__init__()
        self.sites, self.centres = sites, dict[str, Tensor]()

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] not in self.sites or not _has_mirror(msg["fn"]):
            return
        shape, centre = self.sites[msg["name"]]["value"].shape, _centre(msg["fn"])
        if centre is not None and centre.shape == shape:  # not one for each summed-out value
            self.centres[msg["name"]] = msg["value"] = centre
            msg["done"] = True


def _has_mirror(fn: Any) -> bool:
    """Return whether a distribution is one of real numbers, or of numbers in an interval."""
    try:
        support = support_of(fn)
    except (NotImplementedError, AttributeError):
        return False
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support is constraints.real or isinstance(support, constraints.interval)


def _centre(fn: Any) -> Tensor | None:
    """Return the mean, or the location of a distribution that has none."""
    with suppress(NotImplementedError, AttributeError):
        mean: Tensor = fn.mean
        if mean.isfinite().all():
            return mean.detach()
    location = getattr(innermost(fn), "loc", None)
    return location.detach().expand(fn.shape()) if isinstance(location, Tensor) else None
