"""One bound for the model, another for the guide."""

from torch import Tensor

from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.iwae import log_mean_exp
from pyro_vae.inference.objectives.miwae import MIWAE
from pyro_vae.inference.objectives.objective import with_gradient_of


class PIWAE(MIWAE):
    """Let the model maximise IWAE's bound of all M K draws, and the guide MIWAE's, M bounds of K draws.

    A fit reports the model's bound. A parameter that both use (the encoder behind a VampPrior)
    gets the sum of both.

    Source: T. Rainforth et al., "Tighter variational bounds are not necessarily better", 2018,
    https://arxiv.org/abs/1802.04537, section 5.

    Args:
        num_particles: draws K in each of the guide's bounds.
        num_estimates: the guide's bounds M.
    """

    rescores_draws = True

    def value(self, draws: GuideDraws) -> Tensor:
        return draws.scale * log_mean_exp(draws.log_probs.log_weights).sum()

    def surrogate(self, draws: GuideDraws) -> Tensor:
        at = draws.copies.log_probs
        log_weights = at.log_weights.detach()
        every = log_weights.softmax(0)
        each = log_weights.unflatten(0, (self.num_estimates, -1)).softmax(1).flatten(0, 1)
        for_model = (every * at.log_joint).sum()
        for_guide = draws.pathwise((each * at.log_joint).sum()) - (each * draws.log_guide).sum()
        surrogate = draws.scale * (for_model + for_guide / self.num_estimates)
        return with_gradient_of(self.value(draws.copies), surrogate)
