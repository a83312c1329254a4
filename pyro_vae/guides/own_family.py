"""The prior's own family as that of a guide's factor, by location and scale of unconstrained coordinates.

Of a conjugate model it holds the posterior, and its tails are those of the prior.
"""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae.guides.within import Within
from pyro_vae.program.wrappers import SHAPES_AND_MASKS, inside

Family = Callable[[Tensor, Tensor], Any]
"""Makes a distribution from location and scale of its coordinates, ``batch |``."""


def gamma(loc: Tensor, scale: Tensor) -> Any:
    """Return the Gamma distribution with mean exp(loc), whose log varies by about ``scale``."""
    concentration = 1 + scale.square().reciprocal()
    return dist.Gamma(concentration, concentration * (-loc).exp())


def inverse_gamma(loc: Tensor, scale: Tensor) -> Any:
    """Return the distribution of 1 / g, where g is Gamma with mean exp(-loc)."""
    concentration = 1 + scale.square().reciprocal()
    return dist.InverseGamma(concentration, concentration * loc.exp())


LOGITS = Within(
    -12.0, 12.0
)  # of a mean: draws of Betas closer to a bound have no finite derivatives


class Beta(dist.Beta):
    """Draw no value that rounds to 0 or 1, where a density may be 0 or infinite."""

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        value: Tensor = super().rsample(torch.Size(sample_shape))
        finite = torch.finfo(value.dtype)
        return value.clamp(finite.tiny, 1 - finite.eps / 2)


def beta(loc: Tensor, scale: Tensor) -> Any:
    """Return the Beta distribution with mean sigmoid(loc) whose logit varies by about ``scale``."""
    loc = LOGITS(loc)
    mean, rest = loc.sigmoid(), (-loc).sigmoid()
    precision = scale.square().reciprocal()  # 1 / (1 / a + 1 / b)
    return Beta(1 + precision / rest, 1 + precision / mean)


FAMILIES: dict[type, Family] = {
    dist.Beta: beta,
    dist.Chi2: gamma,
    dist.Exponential: gamma,
    dist.Gamma: gamma,
    dist.InverseGamma: inverse_gamma,
}


def own_family(fn: Any) -> Family | None:
    """Return the family of a prior, if a factor can have it; None for all others.

    Priors whose density may have a pole are among the others, since draws at a bound have no finite
    density. So a factor's concentrations are at least 1, too.
    """
    base = inside(fn, SHAPES_AND_MASKS)
    names = ("concentration", "concentration1", "concentration0")
    concentrations = [getattr(base, name) for name in names if hasattr(base, name)]
    if not all(bool((each >= 1).all()) for each in concentrations):
        return None
    return FAMILIES.get(type(base))
