"""A model whose observed sites draw."""

from collections.abc import Callable
from typing import Any

from pyro.poutine.messenger import Messenger


def redrawing(model: Callable[..., Any]) -> Callable[..., Any]:
    """Return a model whose observed sites draw from their distributions; computed sites stay computed.

    Pyro's ``uncondition`` redraws deterministic sites, too; in a plate these then get another shape.
    """
    inside: Callable[..., Any] = _Redrawing()(model)
    return inside


class _Redrawing(Messenger):
    """Forget the values of observed sites, but not those of deterministic ones."""

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] and not msg["infer"].get("_deterministic"):
            msg["is_observed"], msg["value"], msg["done"] = False, None, False
