"""Symmetries of a model: maps of the latents that leave its log-density as it is.

Where a model has some, each draw has copies of the same density, and the posterior has a mode for each of
them: a proposal that sits on one mode sees a part of the evidence.
"""

import abc
import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.particles import score_model
from pyro_vae.program.probe import PROBE_SEED, moves
from pyro_vae.program.trace import Site, latent_sites

Values = Mapping[str, Tensor]  # of latents, ``any | plates | event``


class Symmetry(abc.ABC):
    """Hold a group of maps of the latents, none of which changes a volume."""

    @property
    @abc.abstractmethod
    def names(self) -> tuple[str, ...]:
        """The latents that the maps change."""

    @property
    @abc.abstractmethod
    def words(self) -> str:
        """What holds, as a sentence without its end."""

    @abc.abstractmethod
    def maps(self) -> list[Any]:
        """Return all maps, that which changes nothing first."""

    @abc.abstractmethod
    def moved(self, values: Values, by: Any) -> dict[str, Tensor]:
        """Return values after one of the maps."""


Symmetries = tuple[Symmetry, ...]
Copy = tuple[Any, ...]
"""One map of each of some symmetries."""


def copies(symmetries: Symmetries) -> list[Copy]:
    """Return all combinations of the symmetries' maps, that which changes nothing first."""
    return list(itertools.product(*(one.maps() for one in symmetries)))


def num_copies(symmetries: Symmetries) -> int:
    """Return how many copies of a draw there are, itself counted."""
    return math.prod(len(one.maps()) for one in symmetries)


def names_of(symmetries: Symmetries) -> set[str]:
    """Return the latents that some of the maps change."""
    return {name for one in symmetries for name in one.names}


def copied(values: Values, symmetries: Symmetries, copy: Copy) -> dict[str, Tensor]:
    """Return values after one map of each symmetry."""
    found = dict(values)
    for one, by in zip(symmetries, copy, strict=True):
        found = one.moved(found, by)
    return found


def random_copies(values: Values, symmetries: Symmetries) -> dict[str, Tensor]:
    """Return draws, ``S | plates | event``, each in place of a copy of it that is taken at random."""
    found, every = dict(values), copies(symmetries)
    if len(every) == 1:
        return found
    which = torch.randint(len(every), (len(next(iter(values.values()))),))
    for number, copy in enumerate(every):
        rows = (which == number).nonzero().squeeze(-1)
        other = copied({n: v[rows.to(v.device)] for n, v in values.items()}, symmetries, copy)
        for name in names_of(symmetries):
            found[name] = found[name].index_copy(0, rows.to(found[name].device), other[name])
    return found


def trace_of(values: Values) -> poutine.Trace:
    """Return a trace to replay, with values of latents."""
    trace = poutine.Trace()
    for name, value in values.items():
        trace.add_node(name, name=name, type="sample", value=value, is_observed=False, infer={})
    return trace


@dataclass(frozen=True)
class Probes:
    """Hold draws of the latents, at which a model's density is compared with that of their copies.

    Attributes:
        bound_program: of runs without a dimension for chains.
        sites: the latents that are not summed out, in a draw of the prior.
        tried: draws of prior and guide, each with its log-density.
    """

    bound_program: BoundProgram
    sites: Mapping[str, Site]
    tried: tuple[tuple[Values, Tensor], ...]

    @classmethod
    def of(cls, bound_program: BoundProgram) -> Self:
        """Draw them.

        Raises:
            InputError: the guide draws nothing that the model scores.
        """
        single = bound_program.single()
        seed_all(PROBE_SEED)
        prior = latent_sites(single.model(1, sum_out=True))
        sites = {n: s for n, s in prior.items() if n not in single.structure.enumerated}
        guide = single.guide(1).nodes
        draws = [{n: s["value"] for n, s in sites.items()}, {n: guide[n]["value"] for n in sites}]
        scores = [_log_joint(single, values) for values in draws]
        tried = [(v, s) for v, s in zip(draws, scores, strict=True) if s.isfinite().all()]
        return cls(single, sites, tuple(tried))

    def stay(self, moved: Callable[[Values], Values]) -> bool:
        """Return whether a map leaves the log-density of all draws as it is."""
        try:
            return bool(self.tried) and not any(
                bool(moves(score, _log_joint(self.bound_program, moved(values))).any())
                for values, score in self.tried
            )
        except (InputError, ValueError):  # the map leads out of a support
            return False


def _log_joint(bound_program: BoundProgram, values: Values) -> Tensor:
    given, prior = score_model(bound_program.joint(1, trace_of(values)), bound_program.structure, 1)
    return given + prior
