"""Several importance-weighted bounds, averaged."""

from torch import Tensor

from pyro_vae.errors import at_least_1
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.iwae import log_mean_exp
from pyro_vae.inference.objectives.objective import FigureKind, Objective


class MIWAE(Objective):
    """Maximise sum_n E[(1/M) sum_m log (1/K) sum_k w_nmk] with weights w = p(x, z) / q(z | x).

    The bound is IWAE's of K draws. Its gradient for the guide has 1/M of the variance; with more draws in
    one bound the signal would fade faster than the noise.

    Source: T. Rainforth et al., "Tighter variational bounds are not necessarily better", 2018,
    https://arxiv.org/abs/1802.04537.

    Args:
        num_particles: draws K in a bound.
        num_estimates: bounds M that are averaged.
    """

    figure: FigureKind = "bound"
    needs_whole_units = True

    def __init__(self, num_particles: int = 8, num_estimates: int = 8) -> None:
        super().__init__(
            at_least_1("num_particles", num_particles) * at_least_1("num_estimates", num_estimates)
        )
        self.num_estimates = num_estimates

    def value(self, draws: GuideDraws) -> Tensor:
        weights = draws.log_probs.log_weights.unflatten(0, (self.num_estimates, -1))  # (M, K, U)
        return draws.scale * log_mean_exp(weights, 1).mean(0).sum()
