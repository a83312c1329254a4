"""The table of methods that draw a posterior, by the names that the command line takes."""

from typing import Any

from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.draws import DrawsPosterior
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.methods import chosen
from pyro_vae.inference.evidence.smc import SMC
from pyro_vae.inference.posterior.guide_draws import Guide
from pyro_vae.inference.posterior.nuts import NUTS

POSTERIOR_METHODS: dict[str, type[DrawsPosterior]] = {
    "importance": Importance,
    "ais": Annealed,
    "smc": SMC,
    "guide": Guide,
    "nuts": NUTS,
}
IMPORTANCE = Importance()


def as_posterior_method(method: Any) -> DrawsPosterior:
    """Return a method that draws, or the one of that name with its default options.

    Raises:
        InputError: there is no such method, or it gives an evidence and no draws.
    """
    problem = f"{method!r} is no method that draws a posterior"
    remedy = "pass method=Importance(), say"
    return chosen(method, DrawsPosterior, POSTERIOR_METHODS, problem, remedy)
