"""A network that reads the columns of a table one after another."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from pyro_vae.quantile_scores import QuantileScores

STEPS = 9  # soft steps along the scores of a number, so that a layer can bend what it makes of it


class ColumnsBefore(nn.Module):
    """Summarise for each column those before it: h_j = f(z, x_1, ..., x_(j-1)), ``B, columns | width``.

    A category is read as a one-hot vector, a number as its score (:class:`QuantileScores`) and as soft
    steps along the scores. A missing cell is read as missing.

    Args:
        num_categories: of each column; 0 where it holds numbers.
        latent_dim: size of z.
        width: size of h.
        num_layers: residual layers, which all columns share.
        dropout: share of h that is left out in training.
    """

    place: Tensor
    steps: Tensor

    def __init__(
        self,
        num_categories: Sequence[int],
        latent_dim: int,
        width: int = 128,
        num_layers: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        columns = len(num_categories)
        self.quantiles = QuantileScores((columns,))
        size = 1 + max([STEPS + 1, *num_categories])  # the last feature says that the cell is missing
        self.register_buffer("is_number", torch.tensor([k == 0 for k in num_categories]))
        self.register_buffer("steps", torch.linspace(-4.0, 4.0, STEPS), persistent=False)
        self.size = size
        self.weight = nn.Parameter(torch.randn(columns, size, width) * 0.5 / (1 + columns) ** 0.5)
        self.bias = nn.Parameter(torch.randn(columns, width) * 0.1)
        self.of_z = nn.Linear(latent_dim, width)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout))
            for _ in range(num_layers)
        )

    def learn_scaling(self, x: Tensor) -> None:
        self.quantiles.learn(x)

    def features(self, x: Tensor) -> Tensor:
        """Return ``B, columns | size``."""
        missing = x.isnan()
        filled = torch.where(missing, 0.0, x)
        u = self.quantiles.to_scores(filled).unsqueeze(-1) / 4
        number = torch.cat([u, torch.tanh(4 * u - self.steps) / 2], -1)
        number = nn.functional.pad(number, (0, self.size - STEPS - 1))
        category = nn.functional.one_hot(
            torch.where(self.is_number, 0.0, filled).long().clamp(0, self.size - 2), self.size
        ).to(x)
        found = torch.where(self.is_number.unsqueeze(-1), number, category)
        last = torch.zeros(self.size, device=x.device, dtype=x.dtype)
        last = torch.cat([last[1:], last[:1] + 1])
        return torch.where(missing.unsqueeze(-1), last, found)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        each = torch.einsum("...cf,cfw->...cw", self.features(x), self.weight)
        before = each.cumsum(-2) - each
        h = before + self.bias + self.of_z(z).unsqueeze(-2)
        for layer in self.layers:
            h = h + layer(h)
        return silu(h)
