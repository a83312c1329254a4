"""ArviZ's diagnostics of draws that come from several chains."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class ChainFigures:
    """Hold the figures of many numbers: the error of the mean, the ESS of bulk and mean, and R-hat."""

    mcse: Tensor
    ess: Tensor
    ess_of_mean: Tensor
    r_hat: Tensor


def chain_figures(value: Tensor, num_chains: int) -> ChainFigures:
    """Return ArviZ's figures of each number of a site.

    Args:
        value: draws of the chains, one chain after another, ``draws | ...``.
        num_chains: how many.

    Source: A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Buerkner, "Rank-normalization, folding,
    and localization: an improved R-hat", 2021, https://arxiv.org/abs/1903.08008.
    """
    import arviz
    import xarray

    shape = (num_chains, len(value) // num_chains, *value.shape[1:])
    names = ("chain", "draw", *(f"dim_{i}" for i in range(value.dim() - 1)))
    data = xarray.Dataset({"z": (names, value.reshape(shape).double().numpy())})

    def figures(function: Any, method: str) -> Tensor:
        return torch.as_tensor(function(data, method=method)["z"].values.copy())

    return ChainFigures(
        figures(arviz.mcse, "mean"),
        figures(arviz.ess, "bulk"),
        figures(arviz.ess, "mean"),
        figures(arviz.rhat, "rank"),
    )
