"""Labels of which some were not seen, and the classes that there may have been."""

import math

import pyro.distributions as dist
import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor

from pyro_vae.networks.conditions import check_labels


def seen_labels(y: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Labels (B,), of class 0 where none was seen, which -1 says, and whether one was, (B, 1).

    :raises InputError: where Pyro validates, a label is out of range.

    >>> seen_labels(torch.tensor([-1, 2]), 3)
    (tensor([0, 2]), tensor([[False],
            [ True]]))
    """
    if is_validation_enabled():
        check_labels(y, num_classes, lowest=-1)
    return y.clamp(min=0), (y >= 0).unsqueeze(-1)


def even_where(seen: Tensor, logits: Tensor) -> dist.TorchDistribution:
    """The class, one-hot, ``B | C``, of these logits; even where a label is ``seen``, so that it cancels.

    >>> even_where(torch.tensor([[True]]), torch.tensor([9.0, 0.0])).probs
    tensor([[0.5000, 0.5000]])
    """
    return dist.OneHotCategorical(logits=torch.where(seen, 0.0, logits))


def spread_out(logits: Tensor, share: float) -> Tensor:
    """Log-probabilities of classes, ``B, C``, that leave no class less than its part of ``share``.

    >>> spread_out(torch.tensor([999.0, 0.0]), 0.1).exp()
    tensor([0.9500, 0.0500])
    """
    even = torch.full_like(logits, share / logits.shape[-1]).log()
    return torch.logaddexp(logits.log_softmax(-1) + math.log1p(-share), even)
