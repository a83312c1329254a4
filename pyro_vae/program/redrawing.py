"""A model whose observed sites draw."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyro_vae.program.trace import Site


def redrawing(
    model: Callable[..., Any], observed: dict[str, Any] | None = None
) -> Callable[..., Any]:
    """Return a model whose observed sites draw from their distributions; computed sites stay computed.

    Pyro's ``uncondition`` redraws deterministic sites, too; in a plate these then get another shape.

    Args:
        model: with observed sites.
        observed: where each run puts the values that it would have observed, by site.
    """
    inside: Callable[..., Any] = _Redrawing({} if observed is None else observed)(model)
    return inside


def mean_of(site: Site) -> Tensor:
    """Return the mean of a site's distribution, in the shape of its value; the value where it has none."""
    value: Tensor = site["value"]
    try:
        mean = site["fn"].mean.expand_as(value)
    except Exception:  # of a distribution without one, or a user's own
        return value
    return torch.where(mean.isnan(), value.to(mean), mean)  # torch gives a class the mean NaN


class _Redrawing(Messenger):
    """Forget the values of observed sites, but not those of deterministic ones."""

    def __init__(self, observed: dict[str, Any]) -> None:
        super().__init__()
        self.observed = observed

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] and not msg["infer"].get("_deterministic"):
            self.observed[msg["name"]] = msg["value"]
            msg["is_observed"], msg["value"], msg["done"] = False, None, False
