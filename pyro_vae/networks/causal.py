"""A network of sequences whose output at a step depends on earlier steps only."""

import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError, at_least, at_least_1


class CausalGRU(nn.Module):
    """Return logits of K categories at each step, from the steps before it and a context.

    It is not a :class:`~pyro_vae.networks.Network`: the batches of its one-hot input, ``batch | T, K``, and
    of the context, ``batch | C``, need only broadcast.

    Args:
        num_categories: K.
        context_dim: C; 0 for no context.
        hidden_dim: size of the recurrent state.
        word_dropout: share of steps that later steps do not see, in training only; it makes the network
            use the context.

    Raises:
        InputError: there are fewer than 2 categories, a size is below 1, or the dropout is not in [0, 1).

    Source: S. R. Bowman, L. Vilnis, O. Vinyals, A. M. Dai, R. Jozefowicz, S. Bengio, "Generating sentences
    from a continuous space", 2015, https://arxiv.org/abs/1511.06349.

    >>> CausalGRU(5, 2)(torch.zeros(3, 7, 5), torch.zeros(4, 3, 2)).shape
    torch.Size([4, 3, 7, 5])
    """

    def __init__(
        self,
        num_categories: int,
        context_dim: int = 0,
        hidden_dim: int = 64,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        at_least(2, "num_categories", num_categories)
        at_least_1("hidden_dim", hidden_dim)
        if not 0 <= word_dropout < 1:
            raise InputError(
                f"word_dropout is {word_dropout}",
                subject="word_dropout",
                expected="a number of at least 0 and below 1",
            )
        self.embedding = nn.Linear(num_categories, hidden_dim)
        self.dropout = nn.Dropout1d(word_dropout)
        self.recurrent = nn.GRU(hidden_dim + context_dim, hidden_dim, batch_first=True)
        self.last = nn.Linear(hidden_dim, num_categories)

    def forward(self, one_hot: Tensor, context: Tensor | None = None) -> Tensor:
        before = torch.cat([torch.zeros_like(one_hot[..., :1, :]), one_hot[..., :-1, :]], -2)
        steps = before.reshape(-1, *before.shape[-2:])
        inputs = self.dropout(self.embedding(steps)).reshape(*before.shape[:-1], -1)
        if context is not None:
            batch = torch.broadcast_shapes(before.shape[:-2], context.shape[:-1])
            context = context.unsqueeze(-2).expand(*batch, before.shape[-2], -1)
            inputs = torch.cat([inputs.expand(*batch, *inputs.shape[-2:]), context], -1)
        states, _ = self.recurrent(inputs.reshape(-1, *inputs.shape[-2:]))
        return self.last(states).reshape(*inputs.shape[:-1], -1)
