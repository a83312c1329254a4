"""The KL term with a weight."""

from typing import Any

from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor


class Tempered(Messenger):
    """Scale the latent sites' log-probabilities, in model and guide alike: the KL term times beta.

    Observed sites keep their weight, so with beta = 1 the objective is the ELBO itself.

    Source: I. Higgins et al., "beta-VAE: learning basic visual concepts with a constrained
    variational framework", 2017, https://openreview.net/forum?id=Sy2fzU9gl; S. R. Bowman et al.,
    "Generating sentences from a continuous space", 2015, https://arxiv.org/abs/1511.06349, for
    growing it from 0.

    Args:
        beta: weight of the KL term, a number or a tensor ``|``.
    """

    def __init__(self, beta: float | Tensor) -> None:
        super().__init__()
        self.beta = beta

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["is_observed"] and not isinstance(msg["fn"], _Subsample):
            msg["scale"] = msg["scale"] * self.beta
