"""The importance-weighted bound with a gradient whose signal does not fade as draws grow."""

from torch import Tensor

from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.iwae import IWAE
from pyro_vae.inference.objectives.objective import with_gradient_of


class DReG(IWAE):
    """Maximise IWAE's bound by the doubly reparameterised gradient.

    For the guide's parameters it is sum_k v_k^2 d(log w_k)/dz dz_k/dphi, with normalised weights v: equal
    to the bound's gradient on average, without the score of the guide, whose noise hides the signal at
    large K. The model's gradient is IWAE's own. A parameter that both use (the encoder behind a
    VampPrior) gets the sum of both. One backward pass through the model serves both gradients, since a draw
    moves its own unit's density alone. With batch normalisation in training, which mixes rows, there are
    two passes; a model that mixes rows in another way needs IWAE.

    Source: G. Tucker, D. Lawson, S. Gu, C. J. Maddison, "Doubly reparameterized gradient estimators for
    Monte Carlo objectives", 2018, https://arxiv.org/abs/1810.04152.

    Args:
        num_particles: draws K a unit.
    """

    rescores_draws = True

    def surrogate(self, draws: GuideDraws) -> Tensor:
        at = draws.copies.log_probs
        weights = at.log_weights.detach().softmax(0)
        if draws.mixes_rows:
            for_guide = draws.pathwise((weights.square() * at.log_weights).sum())
        else:
            # a draw moves its own density alone: the model's backward pass gives v d(log p)/dz, which the
            # copies pass on times v
            draws.copies.passed_on.factor = weights
            for_guide = -draws.pathwise((weights.square() * at.log_guide).sum())
        surrogate = draws.scale * ((weights * at.log_joint).sum() + for_guide)
        return with_gradient_of(self.value(draws.copies), surrogate)
