"""The importance-weighted bound."""

import math

from torch import Tensor

from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.objective import FigureKind, Objective


class IWAE(Objective):
    """Maximise sum_n E[log (1/K) sum_k p(x_n, z_nk) / q(z_nk | x_n)], a lower bound that grows with K.

    With K = 1 it is the ELBO. It is per unit, so a bound also where the data are subsampled: the scale of a
    unit stands outside the logarithm.

    Source: Y. Burda, R. Grosse, R. Salakhutdinov, "Importance weighted autoencoders", 2015,
    https://arxiv.org/abs/1509.00519.

    Args:
        num_particles: draws K a unit.

    >>> from pyro_vae import fit
    >>> from pyro_vae.models import FactorAnalysis
    >>> result = fit(FactorAnalysis((3,), 1), torch.randn(64, 3), epochs=2, elbo=IWAE(8), progress=False)
    >>> sorted(result.metrics[0])
    ['beta', 'epoch', 'learning_rate', 'train_bound']
    """

    figure: FigureKind = "bound"
    needs_whole_units = True

    def __init__(self, num_particles: int = 8) -> None:
        super().__init__(num_particles)

    def value(self, draws: GuideDraws) -> Tensor:
        return draws.scale * log_mean_exp(draws.log_probs.log_weights).sum()


def log_mean_exp(log_weights: Tensor, dim: int = 0) -> Tensor:
    """Return log (1/K) sum_k exp(a_k).

    >>> log_mean_exp(torch.tensor([0.0, 0.0]))
    tensor(0.)
    """
    return log_weights.logsumexp(dim) - math.log(log_weights.shape[dim])
