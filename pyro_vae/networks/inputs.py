"""Networks that prepare inputs for another network: units of the data, missing values, token ids."""

from collections.abc import Sequence

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.networks.mlp import MLP
from pyro_vae.networks.network import Network, NetworkFactory, Shape
from pyro_vae.quantile_scores import QuantileScores
from pyro_vae.scaling import Scaling


class Flat(Network):
    """Flatten the inputs to one vector.

    >>> Flat((2, 3), (6,))(torch.zeros(5, 2, 3)).shape
    torch.Size([5, 6])
    """

    def transform(self, x: Tensor) -> Tensor:
        return x.flatten(1) if x.dim() > 1 else x


class Scaled(Network):
    """Standardise the inputs, by means and standard deviations of the data, for another network.

    Counts and other positive values that span orders of magnitude become log(x + a) first. a is a column's
    least positive value, which for counts is mostly 1. A category 0 to K - 1 becomes a one-hot vector of K
    numbers. The first fit learns the units from its rows (:mod:`pyro_vae.scaling`); before that, a is 1.

    Args:
        in_shape: shape of one input.
        out_shape: shape of one output.
        network: makes the network from an input and an output shape.
        logs: whether all inputs are read as logs, or which columns are.
        num_categories: number of categories of each column, 0 where it holds numbers; empty: numbers only.

    >>> network = Scaled((2,), (3,), logs=[True, False])
    >>> network.learn_scaling(torch.tensor([[0.0, 300.0], [1e6, 500.0]]))
    >>> network.scaled(torch.tensor([[0.0, 300.0]]))
    tensor([[-1.0000, -1.0000]])
    >>> Scaled((2,), (3,), num_categories=[0, 3]).scaled(torch.tensor([[5.0, 2.0]]))
    tensor([[5., 0., 0., 1.]])
    """

    logs: Tensor | None
    least: Tensor
    ranked: Tensor | None
    column: Tensor | None
    category: Tensor

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        network: NetworkFactory = MLP,
        logs: bool | Sequence[bool] = False,
        num_categories: Sequence[int] = (),
        ranks: bool | Sequence[bool] = False,
    ) -> None:
        super().__init__(in_shape, out_shape)
        features = [
            (j, category)
            for j, count in enumerate(num_categories)
            for category in (range(count) if count else [-1])  # -1: the column's number itself
        ]
        pair = torch.tensor(features).unbind(-1) if any(num_categories) else (None, None)
        for name, buffer in zip(("column", "category"), pair, strict=True):
            self.register_buffer(name, buffer, persistent=False)
        feature_shape = in_shape if self.column is None else (len(features),)
        self.network = Network.make(network, feature_shape, out_shape)
        self.takes_missing = getattr(self.network, "takes_missing", False)
        self.scaling = Scaling(self.in_shape)
        which = None if logs is False else torch.tensor(logs)
        self.register_buffer("logs", which, persistent=False)
        if which is not None:
            self.register_buffer("least", torch.ones_like(self.scaling.location))
        ranked = torch.tensor(ranks)
        self.register_buffer("ranked", ranked if ranked.any() else None, persistent=False)
        self.scores = QuantileScores(self.in_shape) if ranked.any() else None

    def learn_scaling(self, x: Tensor) -> None:
        """Learn location and scale from rows of inputs, ``rows | X``."""
        if x.shape[-1:] != self.in_shape[-1:]:  # other data, such as labels
            return
        if self.scores is not None:
            self.scores.learn(x)
        if self.logs is None:
            self.scaling.learn(self._on_scale(x))
        elif not self.scaling.is_learnt:
            rows = x.reshape(-1, *self.least.shape)
            least = torch.where(rows > 0, rows, torch.inf).amin(0)
            self.least.copy_(torch.where(least.isfinite(), least, 1.0))
            self.scaling.learn(self._on_scale(x), may_keep=~self.logs)

    def scaled(self, x: Tensor) -> Tensor:
        """Return the network's features of inputs ``N | in_shape``."""
        scaled = (self._on_scale(x) - self.scaling.location) / self.scaling.scale
        if self.column is None:
            return scaled
        x, scaled = x[..., self.column], scaled[..., self.column]
        one_hot = torch.where(x.isnan(), x, (x == self.category).to(x))
        return torch.where(self.category < 0, scaled, one_hot)

    def transform(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(self.scaled(x))
        return out

    def _on_scale(self, x: Tensor) -> Tensor:
        if self.scores is not None and self.ranked is not None:
            x = torch.where(self.ranked, self.scores.to_scores(x), x)
        return self._to_logs(x)

    def _to_logs(self, x: Tensor) -> Tensor:
        if self.logs is None:
            return x
        return torch.where(self.logs, (x.clamp(min=0) + self.least).log(), x)


class MaskedInput(Network):
    """Read missing values for another network: NaN becomes 0, and a mask is 1 where a value is observed.

    The mask is stacked onto the input's first dimension, so an image remains an image.

    Args:
        in_shape: shape of one input.
        out_shape: shape of one output.
        network: makes the network from an input and an output shape; the input's first size is doubled.

    Source: A. Nazábal, P. M. Olmos, Z. Ghahramani, I. Valera, "Handling incomplete heterogeneous data using
    VAEs", 2018, https://arxiv.org/abs/1807.03653.

    >>> x = torch.tensor([[1.0, float("nan"), 2.0]])
    >>> bool(MaskedInput((3,), (2,))(x).isfinite().all())
    True
    """

    takes_missing = True

    def __init__(self, in_shape: Shape, out_shape: Shape, network: NetworkFactory = MLP) -> None:
        super().__init__(in_shape, out_shape)
        self.network = Network.make(network, (2 * self.in_shape[0], *self.in_shape[1:]), out_shape)

    def transform(self, x: Tensor) -> Tensor:
        missing = x.isnan()
        return self.network(torch.cat([torch.where(missing, 0.0, x), (~missing).to(x)], 1))


class EmbeddedTokens(Network):
    """Embed token ids as learned vectors for another network.

    Args:
        in_shape: shape of one input, such as (steps,); its values are 0 to num_tokens - 1.
        out_shape: shape of one output.
        network: makes the network from (*in_shape, embedding_dim) and the output's shape.
        num_tokens: number of tokens.
        embedding_dim: length of a vector.

    Raises:
        InputError: a size is below 1 or, where Pyro validates, an input is not a token id.

    >>> EmbeddedTokens((7,), (2,), num_tokens=5)(torch.randint(5, (3, 7))).shape
    torch.Size([3, 2])
    """

    discrete_input = True

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        network: NetworkFactory = MLP,
        num_tokens: int = 2,
        embedding_dim: int = 16,
    ) -> None:
        super().__init__(in_shape, out_shape)
        at_least_1("num_tokens", num_tokens)
        self.embedding = nn.Embedding(num_tokens, at_least_1("embedding_dim", embedding_dim))
        self.network = Network.make(network, (*self.in_shape, embedding_dim), out_shape)

    def takes(self, shape: Shape) -> bool:
        """Return whether the network takes that many embedded tokens."""
        return super().takes(shape) or (
            isinstance(self.network, Network)
            and self.network.takes((*shape, self.embedding.embedding_dim))
        )

    def transform(self, x: Tensor) -> Tensor:
        if is_validation_enabled():
            check_token_ids(x, self.embedding.num_embeddings)
        return self.network(self.embedding(x.long()))


def check_token_ids(x: Tensor, num_tokens: int) -> None:
    """Check that all values are whole numbers from 0 to ``num_tokens`` - 1.

    Raises:
        InputError: one is not.
    """
    wrong = x[~((x >= 0) & (x < num_tokens) & (x == x.round()))]
    if len(wrong):
        raise InputError(
            f"the data hold {wrong[0]:g}, but num_tokens is {num_tokens}",
            subject="num_tokens",
            expected=f"token ids, whole numbers from 0 to {num_tokens - 1}",
            remedy="number tokens from 0, set num_tokens, or binarise grey values",
        )
