"""Objectives of the aggregate posterior: they compare the latent vectors of a batch."""

import abc
from typing import ClassVar

import torch
from torch import Tensor

from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.objective import Objective
from pyro_vae.inference.objectives.requirements import ProgramSites
from pyro_vae.program.trace import Site, drawn_sites


class Aggregate(Objective, abc.ABC):
    """Draw one latent vector for each unit; the batch of them is a sample of the aggregate posterior.

    Attributes:
        independent: whether the guide's numbers must be independent given the data.
    """

    independent: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__(num_particles=1)

    def check(self, sites: ProgramSites) -> None:
        name = sites.require_one_vector(type(self).__name__)
        super().check(sites)
        if self.independent:
            sites.require_independent(type(self).__name__, name)
            sites.require_shared_support(type(self).__name__, name)


def latent_vector(draws: GuideDraws) -> tuple[Site, Site]:
    """Return the guide's site, whose value is ``U | Z``, and the model's."""
    ((name, site),) = drawn_sites(draws.guides[0]).items()
    return site, drawn_sites(draws.models[0])[name]


def covariance(vectors: Tensor) -> Tensor:
    """Return the covariance (Z, Z) of vectors (U, Z), with 1/U.

    >>> covariance(torch.tensor([[0.0, 1.0], [2.0, 1.0]])).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    centred = vectors - vectors.mean(0)
    return centred.mT @ centred / len(centred)


def off_diagonal(square: Tensor) -> Tensor:
    """Return a square matrix with zeros on its diagonal."""
    return square - torch.diag_embed(square.diagonal())
