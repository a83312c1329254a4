"""Objectives that look at the latent vectors of a batch together."""

import abc
from typing import ClassVar

import torch
from torch import Tensor

from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.objective import Objective
from pyro_vae.inference.objectives.requirements import ProgramSites
from pyro_vae.program.trace import Site, drawn_sites


class Aggregate(Objective, abc.ABC):
    """One draw of one latent vector for each unit, and what the batch says of the aggregate posterior."""

    independent: ClassVar[bool] = False  # must the guide's numbers be independent given the data?

    def __init__(self) -> None:
        super().__init__(num_particles=1)

    def check(self, sites: ProgramSites) -> None:
        name = sites.require_one_vector(type(self).__name__)
        super().check(sites)
        if self.independent:
            sites.require_independent(type(self).__name__, name)
            sites.require_shared_support(type(self).__name__, name)


def latent_vector(draws: GuideDraws) -> tuple[Site, Site]:
    """The guide's site, whose value is ``U | Z``, and the model's."""
    ((name, site),) = drawn_sites(draws.guides[0]).items()
    return site, drawn_sites(draws.models[0])[name]


def covariance(vectors: Tensor) -> Tensor:
    """Of vectors (U, Z) over the batch, with 1/U: (Z, Z).

    >>> covariance(torch.tensor([[0.0, 1.0], [2.0, 1.0]])).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    centred = vectors - vectors.mean(0)
    return centred.mT @ centred / len(centred)


def off_diagonal(square: Tensor) -> Tensor:
    """A square matrix with zeros on its diagonal."""
    return square - torch.diag_embed(square.diagonal())
