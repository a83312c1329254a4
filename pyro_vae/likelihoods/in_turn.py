"""A likelihood of tables whose columns are drawn one after another."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from collections.abc import Sequence

from pyro_vae import distributions
from pyro_vae.likelihoods.likelihood import LikelihoodFactory
from pyro_vae.likelihoods.tables import Heterogeneous
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.networks.in_turn import ColumnsBefore


class InTurn(Heterogeneous):
    """Model the columns of a table one after another: p(x | z) = prod_j p_j(x_j | x_1, ..., x_(j-1), z)."""

    not_a_part = "its columns depend on one another"

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        columns: Sequence[LikelihoodFactory] = (),
        width: int = 128,
        num_layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(latent_dim, data_shape, lambda i, o: nn.Identity(), columns)
        num_categories = [0] * len(columns)
        needed = [0] * len(columns)
        for kind, places in zip(self.kinds, self.places, strict=True):
            for place in places:
                num_categories[place] = kind.num_categories
                needed[place] = kind.parameters_per_value
        self.before = ColumnsBefore(num_categories, latent_dim, width, num_layers, dropout)
        self.weight = nn.Parameter(torch.randn(len(columns), width, max(needed)) * 0.1 / width**0.5)
        self.bias = nn.Parameter(torch.zeros(len(columns), max(needed)))
        # the parameters of each likelihood: parameter by parameter, column by column
        index = [
            place * max(needed) + parameter
            for kind, places in zip(self.kinds, self.places, strict=True)
            for parameter in range(kind.parameters_per_value)
            for place in places
        ]
        self.register_buffer("index", torch.tensor(index), persistent=False)

    def learn_scaling(self, x: Tensor) -> None:
        super().learn_scaling(x)
        self.before.learn_scaling(x)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        def given(x: Tensor) -> dist.TorchDistribution:
            h = self.before(z, x)
            outputs = torch.einsum("...cw,cwp->...cp", h, self.weight) + self.bias
            own = outputs.flatten(-2)[..., self.index]
            return distributions.PartiallyObserved(self.from_parameters(own))

        return distributions.ColumnsInTurn(given, z.shape[:-1], len(self.order), z)
