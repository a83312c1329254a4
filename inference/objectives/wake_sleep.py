"""Reweighted wake-sleep, per unit."""

from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.iwae import IWAE
from pyro_vae.inference.objectives.objective import with_gradient_of


class WakeSleep(IWAE):
    """Let the model maximise IWAE's bound, and the guide minimise KL(p(z | x) || q(z | x)).

    Both use the same K weighted draws (wake phase for both), so latents need no reparameterisation: they
    may be discrete. The gradient is sum_k v_k d/dtheta log p(x, z_k) and sum_k v_k d/dphi log q(z_k | x)
    with weights v normalised for each unit. A fit reports IWAE's bound, which the guide does not maximise.
    There is no sleep phase for the guide, on data that the model dreams: a program does not say which of
    its arguments a dream would replace.

    Source: J. Bornschein, Y. Bengio, "Reweighted wake-sleep", 2014, https://arxiv.org/abs/1406.2751;
    T. A. Le et al., "Revisiting reweighted wake-sleep", 2018, https://arxiv.org/abs/1805.10469.

    Args:
        num_particles: draws K a unit, at least 2.
    """

    detaches_draws = True

    def __init__(self, num_particles: int = 8) -> None:
        super().__init__(num_particles)
        if num_particles < 2:
            raise InputError(
                f"WakeSleep weighs a unit's draws against each other, and num_particles is {num_particles}",
                subject="num_particles",
                expected="at least 2",
            )

    def surrogate(self, draws: GuideDraws) -> Tensor:
        log_probs = draws.log_probs
        weights = log_probs.log_weights.detach().softmax(0)
        surrogate = draws.scale * (weights * (log_probs.log_joint + log_probs.log_guide)).sum()
        return with_gradient_of(self.value(draws), surrogate)
