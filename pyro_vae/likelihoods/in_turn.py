"""A likelihood of tables whose columns are drawn one after another."""

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae import distributions
from pyro_vae.likelihoods.likelihood import LikelihoodFactory, PlaceholderDecoder
from pyro_vae.likelihoods.tables import Heterogeneous
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.networks.columns_before import ColumnsBefore


class InTurn(Heterogeneous):
    """Model the columns of a table one after another: p(x | z) = prod_j p_j(x_j | x_1, ..., x_(j-1), z).

    Args:
        latent_dim: size of z.
        data_shape: (columns,).
        decoder: not used; :class:`pyro_vae.networks.ColumnsBefore` reads z and the columns before.
        columns: makes the likelihood of each column.
        width: of that network.
        num_layers: of that network.
        dropout: of that network.
    """

    is_offered = False  # :class:`pyro_vae.models.Table` is made of it
    not_a_part = "its columns depend on one another"

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        columns: Sequence[LikelihoodFactory] = (),
        width: int = 64,
        num_layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        # the parts' own decoders hold a place, which has at least one input
        super().__init__(max(1, latent_dim), data_shape, PlaceholderDecoder, columns)
        num_categories = [0] * len(columns)
        for kind, places in zip(self.kinds, self.places, strict=True):
            for place in places:
                num_categories[place] = kind.num_categories
        self.before = ColumnsBefore(num_categories, latent_dim, width, num_layers, dropout)
        # of each column: its kind, and its place among the columns of that kind
        homes = {j: (k, i) for k, js in enumerate(self.places) for i, j in enumerate(js)}
        self.homes = [homes[j] for j in range(len(columns))]
        self.heads: Any = nn.ModuleList(
            _Heads(width, kind.parameters_per_value, places)
            for kind, places in zip(self.kinds, self.places, strict=True)
        )

    def learn_scaling(self, x: Tensor) -> None:
        super().learn_scaling(x)
        self.before.learn_scaling(x)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return distributions.ColumnsInTurn(self, z, len(self.order))

    def given(self, z: Tensor, x: Tensor) -> dist.TorchDistribution:
        """Return the distributions of all columns given those before, ``B, columns |``."""
        h = self.before(z, x)
        own = torch.cat([head(h).flatten(-2) for head in self.heads], -1)
        return distributions.PartiallyObserved(self.from_parameters(own))

    def start(self, z: Tensor) -> Tensor:
        return z.new_zeros(*z.shape[:-1], 1, self.before.bias.shape[-1])

    def column(self, z: Tensor, state: Tensor, j: int) -> tuple[dist.TorchDistribution, int]:
        which, place = self.homes[j]
        h = self.before.summary(z, state, slice(j, j + 1))
        own = self.heads[which].of_column(h, place)  # B | parameters
        kinds: Any = self.kinds
        found: tuple[dist.TorchDistribution, int] = kinds[which].of_column(
            own, place, len(self.places[which])
        )
        return found

    def read(self, state: Tensor, j: int, value: Tensor) -> Tensor:
        return state + self.before.vectors(value.unsqueeze(-1), slice(j, j + 1))


class _Heads(nn.Module):
    """Map what was read before each column of a kind to the parameters of its distribution."""

    places: Tensor

    def __init__(self, width: int, parameters: int, places: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.weight = nn.Parameter(torch.randn(len(places), width, parameters) * 0.1 / width**0.5)
        self.bias = nn.Parameter(torch.zeros(len(places), parameters))

    def forward(self, h: Tensor) -> Tensor:
        own = torch.einsum("...cw,cwp->...cp", h[..., self.places, :], self.weight) + self.bias
        return own.mT

    def of_column(self, h: Tensor, place: int) -> Tensor:
        """Return the parameters of one column."""
        own: Tensor = h.squeeze(-2) @ self.weight[place] + self.bias[place]
        return own
