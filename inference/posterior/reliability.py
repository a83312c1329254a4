"""Why figures of a posterior are not to be reported, in words."""

from typing import TYPE_CHECKING

from pyro_vae.inference.evidence.smc import FEW

if TYPE_CHECKING:
    from pyro_vae.inference.posterior.result import Posterior

BAD_R_HAT = 1.05  # of a number, above which its chains do not agree
LEAST_ESS = 5  # for each island, of a number
HELP_JOINT = (
    'method=SMC(start="prior") and NUTS() need no guide; Annealed(), more num_particles or a longer fit '
    "may do, too"
)
HELP_ISLANDS = "more num_particles, or method=NUTS(), may help"
HELP_UNITS = "method=Annealed() or more num_particles draw better"
HELP_CHAINS = (
    "more draws and a longer num_warmup help, or, where labels can change places, a model that puts them "
    "in order"
)


def reasons(posterior: "Posterior", num_bad: int) -> tuple[str, ...]:
    """Return in a sentence why so many numbers cannot be trusted, and what helps."""
    numbers = "1 number" if num_bad == 1 else f"{num_bad:,} numbers"
    if not posterior.is_independent:
        why = f"the chains do not agree on {numbers} (R-hat above {BAD_R_HAT}); {HELP_CHAINS}"
        return (why,) if num_bad else ()
    if posterior.without_error.any() or posterior.num_islands == 1:
        return bad_weights(posterior)
    why = (
        f"the islands of particles do not agree on {numbers} (fewer than {LEAST_ESS} effective draws for "
        f"each island); {HELP_ISLANDS}"
    )
    return (why,) if num_bad else ()


def bad_weights(posterior: "Posterior") -> tuple[str, ...]:
    """Return in a sentence that a few weights decide the figures, and what helps."""
    bad, units = int(posterior.without_error.sum()), len(posterior.without_error)
    if not bad:
        return ()
    where = "" if posterior.unit is None else f" of {bad:,} of {units:,} units"
    if posterior.num_islands > 1:
        return (FEW,)
    return (
        f"a few weights decide the figures{where} (Pareto k above {posterior.bad_k:.2f}, or hardly any "
        f"effective draw); {HELP_JOINT if posterior.unit is None else HELP_UNITS}",
    )
