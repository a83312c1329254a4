"""A likelihood of numbers of any distribution."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyro_vae import distributions
from pyro_vae.errors import at_least_1
from pyro_vae.likelihoods.likelihood import Likelihood
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.quantile_scores import QuantileScores


class Quantiles(Likelihood):
    """Model numbers of any distribution on the scale of their ranks.

    x_i = Q_i(u_i),   u_i ~ sum_k w_ik(z) Logistic(loc_ik(z), scale_ik(z)).
    """

    encoder_scaling = "ranks"
    starts: Tensor

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        num_components: int = 3,
    ) -> None:
        self.parameters_per_value = 3 * at_least_1("num_components", num_components)
        super().__init__(latent_dim, data_shape, decoder)
        self.quantiles = QuantileScores(tuple(data_shape))
        # components that start alike stay alike
        starts = torch.linspace(-3, 3, num_components + 2)[1:-1]
        self.register_buffer("starts", starts, persistent=False)

    def learn_scaling(self, x: Tensor) -> None:
        self.quantiles.learn(x)

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        return self._mixture(self.move_last(parameters), self.quantiles)

    def of_column(
        self, parameters: Tensor, place: int, columns: int
    ) -> tuple[dist.TorchDistribution, int]:
        return self._mixture(parameters.unsqueeze(-2), self.quantiles.column(place)), 0

    def _mixture(self, parameters: Tensor, quantiles: QuantileScores) -> dist.TorchDistribution:
        logits, loc, raw_scale = parameters.unflatten(-1, (3, -1)).unbind(-2)
        scale = softplus(raw_scale) + 0.02
        return distributions.QuantileMixture(logits, self.starts + loc, scale, quantiles)
