"""What stands before another network: inputs in their own units, with missing values, of names."""

from collections.abc import Sequence

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.networks.mlp import MLP
from pyro_vae.networks.network import Network, NetworkFactory, Shape
from pyro_vae.units import Units


class Flat(Network):
    """The inputs themselves, as one vector.

    >>> Flat((2, 3), (6,))(torch.zeros(5, 2, 3)).shape
    torch.Size([5, 6])
    """

    def transform(self, x: Tensor) -> Tensor:
        return x.flatten(1) if x.dim() > 1 else x


class Scaled(Network):
    """Any network, for inputs in the data's own units: each less its mean, over its standard deviation.

    Counts and other positive values that span orders of magnitude are read as log(x + a) before that,
    with a the least of a column's values above 0, which of counts is 1 mostly; of a name by number, 0 to
    K - 1, K numbers are read, the one of its name 1 and all others 0. The units are learnt from the rows
    of the first fit (:mod:`pyro_vae.units`); until then a is 1.

    Args:
        in_shape: shape of one input.
        out_shape: shape of one output.
        network: makes the network from the two shapes.
        logs: whether all inputs are read as logs, or which columns are.
        names: of how many names each column's values are, 0 where they are numbers; empty: of none.

    >>> network = Scaled((2,), (3,), logs=[True, False])
    >>> network.learn_units(torch.tensor([[0.0, 300.0], [1e6, 500.0]]))
    >>> network.scaled(torch.tensor([[0.0, 300.0]]))
    tensor([[-1.0000, -1.0000]])
    >>> Scaled((2,), (3,), names=[0, 3]).scaled(torch.tensor([[5.0, 2.0]]))
    tensor([[5., 0., 0., 1.]])
    """

    logs: Tensor | None
    least: Tensor
    column: Tensor | None
    name: Tensor

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        network: NetworkFactory = MLP,
        logs: bool | Sequence[bool] = False,
        names: Sequence[int] = (),
    ) -> None:
        super().__init__(in_shape, out_shape)
        read = [(j, name) for j, k in enumerate(names) for name in (range(k) if k else [-1])]
        column, name = torch.tensor(read).unbind(-1) if any(names) else (None, None)
        self.register_buffer("column", column, persistent=False)  # of each number that is read
        self.register_buffer("name", name, persistent=False)  # that it is 1 for; -1: it is a number
        read_shape = in_shape if column is None else (len(read),)
        self.network = Network.make(network, read_shape, out_shape)
        self.takes_missing = getattr(self.network, "takes_missing", False)
        self.units = Units(self.in_shape)
        which = None if logs is False else torch.tensor(logs)
        self.register_buffer("logs", which, persistent=False)
        if which is not None:
            self.register_buffer("least", torch.ones_like(self.units.location))

    def learn_units(self, x: Tensor) -> None:
        """Takes location and scale from rows of data ``rows | X``."""
        if x.shape[-1:] != self.in_shape[-1:]:  # these are no inputs, and have no such columns
            return
        if self.logs is None:
            self.units.learn(x)
        elif not self.units.is_learnt:
            rows = x.reshape(-1, *self.least.shape)
            least = torch.where(rows > 0, rows, torch.inf).amin(0)
            self.least.copy_(torch.where(least.isfinite(), least, 1.0))
            self.units.learn(self._in_logs(x), may_keep=~self.logs)

    def scaled(self, x: Tensor) -> Tensor:
        """What the network is given of inputs ``N | in_shape``."""
        scaled = (self._in_logs(x) - self.units.location) / self.units.scale
        if self.column is None:
            return scaled
        x, scaled = x[..., self.column], scaled[..., self.column]
        is_name = torch.where(x.isnan(), x, (x == self.name).to(x))
        return torch.where(self.name < 0, scaled, is_name)

    def transform(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(self.scaled(x))
        return out

    def _in_logs(self, x: Tensor) -> Tensor:
        if self.logs is None:
            return x
        return torch.where(self.logs, (x.clamp(min=0) + self.least).log(), x)


class MaskedInput(Network):
    """Any network, for inputs of which values may be missing: NaN becomes 0, and a mask says which.

    The mask, 1 where a value is observed, is stacked onto the input's first dimension, so that an image
    stays one.

    Source: A. Nazábal, P. M. Olmos, Z. Ghahramani, I. Valera, "Handling incomplete heterogeneous data
    using VAEs", 2018, https://arxiv.org/abs/1807.03653.

    Args:
        in_shape: shape of one input.
        out_shape: shape of one output.
        network: makes the network from the two shapes, the first doubled.

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
    """Any network, for inputs that are names by number: each becomes a learned vector.

    Args:
        in_shape: shape of one input, such as (steps,); its values are 0 to num_tokens - 1.
        out_shape: shape of one output.
        network: makes the network from the two shapes, the first with the vectors' length at the end.
        num_tokens: how many names there are.
        embedding_dim: the vectors' length.

    :raises InputError: no names, or vectors of no length; inputs that are none of the names, where Pyro
        validates.

    >>> EmbeddedTokens((7,), (2,), num_tokens=5)(torch.randint(5, (3, 7))).shape
    torch.Size([3, 2])
    """

    reads_names = True

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

    def transform(self, x: Tensor) -> Tensor:
        if is_validation_enabled():
            check_names(x, self.embedding.num_embeddings)
        return self.network(self.embedding(x.long()))


def check_names(x: Tensor, num_tokens: int) -> None:
    """:raises InputError: a value is no whole number from 0 to ``num_tokens`` - 1."""
    wrong = x[~((x >= 0) & (x < num_tokens) & (x == x.round()))]
    if len(wrong):
        raise InputError(
            f"names must be whole numbers from 0 to {num_tokens - 1}, as num_tokens is {num_tokens}, but "
            f"the data hold {wrong[0]:g}: number names from 0, set num_tokens, or binarise grey values"
        )
