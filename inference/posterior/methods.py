"""The table of methods that draw a posterior, by the names that the command line takes."""

from typing import Any

from pyro_vae.errors import InputError, unknown
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.draws import DrawsPosterior
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.posterior.guide_draws import Guide
from pyro_vae.inference.posterior.nuts import NUTS

POSTERIOR_METHODS: dict[str, type[DrawsPosterior]] = {
    "importance": Importance,
    "ais": Annealed,
    "guide": Guide,
    "nuts": NUTS,
}
IMPORTANCE = Importance()


def as_posterior_method(method: Any) -> DrawsPosterior:
    """Return a method that draws, or the one of that name with its default options.

    Raises:
        InputError: there is no such method, or it gives an evidence and no draws.
    """
    if isinstance(method, DrawsPosterior):
        return method
    if isinstance(method, str) and method in POSTERIOR_METHODS:
        return POSTERIOR_METHODS[method]()
    if isinstance(method, type) and issubclass(method, DrawsPosterior):
        name = method.__name__
        raise InputError(
            f"method is the class {name}", subject="method", remedy=f"make one, {name}()"
        )
    raise unknown(
        f"{method!r} is no method that draws a posterior",
        method,
        POSTERIOR_METHODS,
        subject="method",
        remedy="pass method=Importance(), say",
    )
