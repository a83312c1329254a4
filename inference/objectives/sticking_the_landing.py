"""The ELBO with a gradient that vanishes where the guide is the posterior."""

import copy
from typing import ClassVar

from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.inference.objectives.epoch_schedules import Linear, Schedule
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.objective import (
    FigureKind,
    Objective,
    Scheduled,
    with_gradient_of,
)

CHECKS = {"landing": checks.optional(checks.instance(Schedule, "a Schedule such as Linear()"))}


class StickingTheLanding(Objective):
    """Maximise the ELBO by its path derivative: d(log p(x, z) - log q(z | x))/dz dz/dphi for the guide.

    It leaves out the guide's score, which is 0 on average, so the gradient has no noise where the guide is
    the exact posterior. Best with guides that come close to it. A guide that is much narrower than the
    posterior gets more noise by it: see :class:`Landing`.

    Source: G. Roeder, Y. Wu, D. Duvenaud, "Sticking the landing: simple, lower-variance gradient
    estimators for variational inference", 2017, https://arxiv.org/abs/1703.09194.

    Args:
        num_particles: draws a unit that are averaged.
    """

    figure: FigureKind = "elbo"
    rescores_draws = True

    def value(self, draws: GuideDraws) -> Tensor:
        return draws.scale * draws.log_probs.log_weights.mean(0).sum()

    def surrogate(self, draws: GuideDraws) -> Tensor:
        at = draws.copies.log_probs
        return self._surrogate(draws, draws.pathwise(at.log_weights.mean(0).sum()))

    def _surrogate(self, draws: GuideDraws, for_guide: Tensor) -> Tensor:
        surrogate = draws.scale * (draws.copies.log_probs.log_joint.mean(0).sum() + for_guide)
        return with_gradient_of(self.value(draws.copies), surrogate)


class Landing(StickingTheLanding, Scheduled):
    """Maximise the ELBO; the guide's score leaves its gradient bit by bit.

    The gradient is that of :class:`StickingTheLanding` plus 1 - l times the score, with a share l that
    grows from 0 to 1. All of them are unbiased. The score damps the noise as long as the guide is narrower
    than the posterior, or elsewhere, and is noise itself when the guide has arrived.

    Args:
        landing: l over epochs; by default from 0 to 1 over 50 epochs.
        num_particles: draws a unit that are averaged.
    """

    quantity: ClassVar[str] = "landing"

    def __init__(self, landing: Schedule | None = None, num_particles: int = 1) -> None:
        super().__init__(num_particles)
        checks.check_arguments(CHECKS, locals())
        self.schedule = Linear(0.0, 1.0, epochs=50.0) if landing is None else landing
        self.landed: float | Tensor = self.schedule(0.0)

    def at(self, number: float | Tensor) -> "Landing":
        there = copy.copy(self)
        there.landed = number
        return there

    def surrogate(self, draws: GuideDraws) -> Tensor:
        # The share that has not landed goes the way of any ELBO, through draws and parameters at once: the
        # backward pass that the draws need anyway then serves the score, too.
        at = draws.copies.log_probs
        landed = draws.pathwise((at.log_joint - self.landed * at.log_guide).mean(0).sum())
        on_the_way = (1 - self.landed) * draws.log_guide.mean(0).sum()
        return self._surrogate(draws, landed - on_the_way)
