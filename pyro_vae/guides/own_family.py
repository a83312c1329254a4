"""Factors of a prior's own family, where no normal in unconstrained coordinates holds the posterior."""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae.program.wrappers import SHAPES_AND_MASKS, inside

LEAST = 0.1  # concentration: below, draws leave float32's range
Family = Callable[[Tensor, Tensor], Any]


def own_family(fn: Any) -> Family | None:
    """Return what makes a factor of a prior's family from location and scale in its coordinates, or None.

    Priors whose density has a pole are left to the normal: draws at a bound have no finite density.
    """
    base, families = inside(fn, SHAPES_AND_MASKS), {dist.Gamma: _gamma, dist.Beta: _beta}
    family = families.get(type(base))
    if family is None or fn.event_shape:
        return None
    concentrations = [
        getattr(base, name)
        for name in ("concentration", "concentration1", "concentration0")
        if hasattr(base, name)
    ]
    return family if all(bool((each >= 1).all()) for each in concentrations) else None


def _gamma(loc: Tensor, scale: Tensor) -> Any:
    """Return a Gamma of mean exp(loc), whose log has about this standard deviation."""
    concentration = LEAST + scale.square().reciprocal()
    return dist.Gamma(concentration, concentration * (-loc).exp())


def _beta(loc: Tensor, scale: Tensor) -> Any:
    """Return a Beta of about the mean sigmoid(loc), whose logit has about this standard deviation."""
    precision = scale.square().reciprocal()
    ones, zeros = precision * (1 + loc.exp()), precision * (1 + (-loc).exp())
    return dist.Beta(*(LEAST + torch.stack([ones, zeros]).clamp(max=1e6)))
