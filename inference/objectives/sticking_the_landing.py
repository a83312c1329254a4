"""The ELBO with a gradient that vanishes where the guide is the posterior."""

from torch import Tensor

from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.objective import FigureKind, Objective, with_gradient_of


class StickingTheLanding(Objective):
    """Maximise the ELBO by its path derivative: d(log p(x, z) - log q(z | x))/dz dz/dphi for the guide.

    It leaves out the guide's score, which is 0 on average, so the gradient has no noise where the guide is
    the exact posterior. Best with guides that come close to it.

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
        for_guide = draws.pathwise(at.log_weights.mean(0).sum())
        surrogate = draws.scale * (at.log_joint.mean(0).sum() + for_guide)
        return with_gradient_of(self.value(draws.copies), surrogate)
