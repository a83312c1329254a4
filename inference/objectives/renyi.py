"""The variational Renyi bound, per unit."""

from torch import Tensor

from pyro_vae.argument_checks import number
from pyro_vae.errors import InputError
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.iwae import log_mean_exp
from pyro_vae.inference.objectives.objective import Objective


class Renyi(Objective):
    """Maximise sum_n E[1/(1 - a) log (1/K) sum_k w_nk^(1 - a)] with weights w = p(x, z) / q(z | x).

    a = 0 is IWAE; a towards 1 the ELBO. By the inequality of the power means it is a lower bound of the
    evidence for every a >= 0 and every K, here per unit and so under subsampling, too (Pyro's ``RenyiELBO``
    has the plate's scale inside the logarithm, and then gives no bound). For a < 0 it is not a bound.

    Source: Y. Li, R. E. Turner, "Rényi divergence variational inference", 2016,
    https://arxiv.org/abs/1602.02311.

    Args:
        alpha: the order a, any number but 1.
        num_particles: draws K a unit.

    Raises:
        InputError: ``alpha`` is 1: that is ``TraceELBO``.
    """

    needs_whole_units = True

    def __init__(self, alpha: float = 0.5, num_particles: int = 8) -> None:
        super().__init__(num_particles)
        self.alpha = number("alpha", alpha)
        if self.alpha == 1:
            raise InputError(
                "a Renyi bound of order alpha=1 is the ELBO",
                subject="alpha",
                remedy="use TraceELBO",
            )
        self.figure = "bound" if self.alpha >= 0 else "objective"

    def value(self, draws: GuideDraws) -> Tensor:
        power = 1 - self.alpha
        return draws.scale * log_mean_exp(power * draws.log_probs.log_weights).sum() / power
