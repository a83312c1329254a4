"""A network that reads the columns of a table one after another."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from pyro_vae.quantile_scores import QuantileScores

STEPS = 9  # soft steps along the scores of a number, so that a sum of its features can bend


class ColumnsBefore(nn.Module):
    """Summarise for each column those before it: h_j = f(z, x_1, ..., x_(j-1)), ``B, columns | width``.

    Each cell adds a vector to the columns behind it: a category its own, a number a sum over its score
    (:class:`pyro_vae.quantile_scores.QuantileScores`) and soft steps along the scores, a missing cell one
    that says so.

    Args:
        num_categories: of each column; 0 where it holds numbers.
        latent_dim: size of z; 0 for none.
        width: size of h.
        num_layers: residual layers, which all columns share.
        dropout: share of h that is left out in training.

    Source: B. Uria, I. Murray, H. Larochelle, "A deep and tractable density estimator", 2014,
    https://arxiv.org/abs/1310.1757, which sums what it has read in the same way.

    >>> network = ColumnsBefore([0, 3], 2, width=8)
    >>> x, other = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    >>> bool((network(torch.zeros(1, 2), x) == network(torch.zeros(1, 2), other)).all())  # it comes last
    True
    """

    is_number: Tensor
    offsets: Tensor
    steps: Tensor

    def __init__(
        self,
        num_categories: Sequence[int],
        latent_dim: int,
        width: int = 64,
        num_layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        counts = torch.tensor([max(1, k) for k in num_categories])
        scale = len(counts) ** -0.5
        self.quantiles = QuantileScores((len(counts),))
        self.register_buffer("is_number", torch.tensor(num_categories) == 0, persistent=False)
        # the first vector of a column says that its cell is missing
        self.register_buffer("offsets", (counts + 1).cumsum(0) - counts, persistent=False)
        self.register_buffer("steps", torch.linspace(-4.0, 4.0, STEPS), persistent=False)
        self.embedding = nn.Parameter(torch.randn(int(counts.sum()) + len(counts), width) * scale)
        self.weight = nn.Parameter(torch.randn(len(counts), STEPS + 1, width) * scale / 2)
        self.bias = nn.Parameter(torch.randn(len(counts), width) / 4)
        self.of_z = nn.Linear(latent_dim, width) if latent_dim else None
        self.layers = nn.ModuleList(_layer(width, dropout) for _ in range(num_layers))

    def learn_scaling(self, x: Tensor) -> None:
        self.quantiles.learn(x)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        before = self.vectors(x)[..., :-1, :].cumsum(-2)
        return self.summary(z, nn.functional.pad(before, (0, 0, 1, 0)))

    def summary(self, z: Tensor, total: Tensor, columns: slice = slice(None)) -> Tensor:
        """Return h of some columns from the sums before them, ``B, columns | width``."""
        h = total + self.bias[columns]
        if self.of_z is not None:
            h = h + self.of_z(z).unsqueeze(-2)
        for layer in self.layers:
            h = h + layer(h)
        return silu(h)

    def vectors(self, x: Tensor, columns: slice = slice(None)) -> Tensor:
        """Return what the cells of some columns add, ``B, columns | width``."""
        is_number = self.is_number[columns]
        missing = x.isnan()
        known = torch.where(missing, 0.0, x)
        category = torch.where(missing, -1, torch.where(is_number, 0.0, known).long())
        u = self.quantiles.to_scores(known, columns).unsqueeze(-1)
        features = torch.cat([u / 4, torch.tanh(u - self.steps) / 2], -1)
        is_read = is_number & ~missing
        features = torch.where(is_read.unsqueeze(-1), features, 0.0)
        of_number = torch.einsum("...cf,cfw->...cw", features, self.weight[columns])
        return nn.functional.embedding(category + self.offsets[columns], self.embedding) + of_number


def _layer(width: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Dropout(dropout)
    )
