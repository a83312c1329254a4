"""A KL term that is held at a capacity, which grows."""

import copy
from typing import ClassVar

from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.inference.objectives.epoch_schedules import Linear, Schedule
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.objective import Scheduled

CHECKS = {"capacity": checks.optional(checks.instance(Schedule, "a Schedule such as Linear()"))}


class Capacity(Scheduled):
    """Maximise sum_n E_q[log p(x_n | z_n)] - gamma |KL - C|.

    KL is the batch's mean of log q(z | x) - log p(z). C, in nats a unit, grows over the run. Not a bound
    of the evidence: a fit reports the objective, and validates by the ELBO.

    Source: C. P. Burgess et al., "Understanding disentangling in beta-VAE", 2018,
    https://arxiv.org/abs/1804.03599.

    Args:
        gamma: weight of the distance to the capacity.
        capacity: C in nats over epochs; by default from 0 to 25 over 50 epochs.
        num_particles: draws a unit that are averaged.

    >>> from pyro_vae import fit
    >>> from pyro_vae.models import FactorAnalysis
    >>> x, elbo = torch.randn(64, 3), Capacity(10.0, Linear(0, 5, epochs=4))
    >>> result = fit(FactorAnalysis((3,), 1), x, epochs=2, elbo=elbo, progress=False)
    >>> [m["capacity"] for m in result.metrics]
    [1.25, 2.5]
    """

    quantity: ClassVar[str] = "capacity"
    separates_prior = True

    def __init__(
        self,
        gamma: float = 100.0,
        capacity: Schedule | None = None,
        num_particles: int = 1,
    ) -> None:
        super().__init__(num_particles)
        self.gamma = checks.number("gamma", gamma, least=0)
        checks.check_arguments(CHECKS, locals())
        self.schedule = Linear(0.0, 25.0, epochs=50.0) if capacity is None else capacity
        self.nats: float | Tensor = self.schedule(0.0)

    def at(self, number: float | Tensor) -> "Capacity":
        there = copy.copy(self)
        there.nats = number
        return there

    def value(self, draws: GuideDraws) -> Tensor:
        log_probs = draws.log_probs
        distance = (log_probs.rate.mean() - self.nats).abs()
        return draws.count * (log_probs.log_likelihood.mean() - self.gamma * distance)
