"""A network of sequences that looks back alone."""

import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError, at_least_1


class CausalGRU(nn.Module):
    """Logits of one of K names at each step, from the steps before it and a context.

    Not a :class:`~pyro_vae.networks.Network`: what it reads, ``batch | T, K``, and the context,
    ``batch | C``, need only broadcast.

    Source: S. R. Bowman, L. Vilnis, O. Vinyals, A. M. Dai, R. Jozefowicz, S. Bengio, "Generating sentences
    from a continuous space", 2015, https://arxiv.org/abs/1511.06349.

    Args:
        num_names: K.
        context_dim: C; 0 is no context.
        hidden_dim: size of the recurrent state.
        word_dropout: how often a name is not shown to the steps after it, in training alone; it makes
            the context worth reading.

    :raises InputError: fewer than two names, or a dropout that is no probability.

    >>> CausalGRU(5, 2)(torch.zeros(3, 7, 5), torch.zeros(4, 3, 2)).shape
    torch.Size([4, 3, 7, 5])
    """

    def __init__(
        self,
        num_names: int,
        context_dim: int = 0,
        hidden_dim: int = 64,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if num_names < 2 or not 0 <= word_dropout < 1:
            raise InputError(
                "there must be at least 2 names and a word_dropout of at least 0 and below 1, not "
                f"{num_names} and {word_dropout}"
            )
        at_least_1("hidden_dim", hidden_dim)
        self.embedding = nn.Linear(num_names, hidden_dim)
        self.dropout = nn.Dropout1d(word_dropout)
        self.recurrent = nn.GRU(hidden_dim + context_dim, hidden_dim, batch_first=True)
        self.last = nn.Linear(hidden_dim, num_names)

    def forward(self, names: Tensor, context: Tensor | None = None) -> Tensor:
        before = torch.cat([torch.zeros_like(names[..., :1, :]), names[..., :-1, :]], -2)
        steps = before.reshape(-1, *before.shape[-2:])
        read = self.dropout(self.embedding(steps)).reshape(*before.shape[:-1], -1)
        if context is not None:
            batch = torch.broadcast_shapes(before.shape[:-2], context.shape[:-1])
            beside = context.unsqueeze(-2).expand(*batch, before.shape[-2], -1)
            read = torch.cat([read.expand(*batch, *read.shape[-2:]), beside], -1)
        states, _ = self.recurrent(read.reshape(-1, *read.shape[-2:]))
        return self.last(states).reshape(*read.shape[:-1], -1)
