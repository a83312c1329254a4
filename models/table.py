"""Tables whose columns are drawn one after another."""

from collections.abc import Sequence
from functools import partial

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.likelihoods import InTurn, Quantiles, Tokens
from pyro_vae.networks import Shape


class Table(nn.Module):
    """Draw the columns of a row in turn: x_j ~ p(x_j | x_1, ..., x_(j-1)). The guide is empty.

    A category has a probability of its own (:class:`pyro_vae.likelihoods.Tokens`). A number has any
    distribution, also one with spikes, steps and tails (:class:`pyro_vae.likelihoods.Quantiles`). The model
    leaves missing cells out: columns behind one know that it is missing, and it counts 0 nats itself. The
    ELBO is the evidence, exactly: log p(x) = sum_j log p(x_j | x_1, ..., x_(j-1)). Nothing is latent.

    Args:
        data_shape: (columns,).
        category_counts: of each column; 0 where it holds numbers. None: numbers only.
        width: size of the vector that summarises the columns before.
        num_layers: layers of the network that makes it.
        dropout: share of that vector that is left out in training.

    Raises:
        InputError: ``data_shape`` is not that of a table, or ``category_counts`` has another length.

    Source: B. Uria, I. Murray, H. Larochelle, "A deep and tractable density estimator", 2014,
    https://arxiv.org/abs/1310.1757.

    >>> table = Table((3,), [0, 4, 2])
    >>> table.log_evidence(torch.tensor([[0.3, 3.0, 1.0], [-1.2, torch.nan, 0.0]])).shape
    torch.Size([2])
    """

    def __init__(
        self,
        data_shape: Shape,
        category_counts: Sequence[int] | None = None,
        *,
        width: int = 64,
        num_layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        counts = [0] * data_shape[0] if category_counts is None else list(category_counts)
        if tuple(data_shape) != (len(counts),):
            raise InputError(
                f"Table has {len(counts)} columns, and the data have shape {tuple(data_shape)}",
                subject="category_counts",
                expected="data of shape (columns,), and a number for each column",
            )
        kinds = {k: partial(Tokens, num_tokens=k) if k else Quantiles for k in counts}
        columns = [kinds[k] for k in counts]
        self.columns = InTurn(
            0, data_shape, columns=columns, width=width, num_layers=num_layers, dropout=dropout
        )

    def data_distribution(self, rows: int) -> dist.TorchDistribution:
        """Return p(x), ``rows | columns``."""
        return self.columns(self.columns.before.bias.new_zeros(rows, 0))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", self.data_distribution(len(x)), obs=x)  # (B | X)

    def guide(self, x: Tensor) -> None:
        """Draw nothing, because nothing is latent."""

    def log_evidence(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, exactly, of the cells that are not missing: ``B |`` from ``B | X``."""
        log_p: Tensor = self.data_distribution(len(x)).log_prob(x)
        return log_p
