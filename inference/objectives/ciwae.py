"""A bound between the ELBO and the importance-weighted one."""

from torch import Tensor

from pyro_vae.argument_checks import number
from pyro_vae.errors import InputError
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.iwae import log_mean_exp
from pyro_vae.inference.objectives.objective import FigureKind, Objective


class CIWAE(Objective):
    """Maximise sum_n b ELBO_n + (1 - b) IWAE_n, from the same K draws: a lower bound for b in [0, 1].

    Source: T. Rainforth et al., "Tighter variational bounds are not necessarily better", 2018,
    https://arxiv.org/abs/1802.04537, section 5.

    Args:
        num_particles: draws K a unit.
        elbo_weight: b.
    """

    figure: FigureKind = "bound"
    needs_whole_units = True

    def __init__(self, num_particles: int = 8, elbo_weight: float = 0.5) -> None:
        super().__init__(num_particles)
        self.elbo_weight = number("elbo_weight", elbo_weight, least=0)
        if self.elbo_weight > 1:
            raise InputError(
                f"elbo_weight must be between 0 and 1, not {elbo_weight}",
                subject="elbo_weight",
                expected="between 0 and 1",
            )

    def value(self, draws: GuideDraws) -> Tensor:
        weights = draws.log_probs.log_weights
        return draws.scale * log_mean_exp(weights).lerp(weights.mean(0), self.elbo_weight).sum()
