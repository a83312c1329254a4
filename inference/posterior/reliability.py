"""Why figures of a posterior are not to be reported, in words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyro_vae.inference.posterior.result import Posterior

BAD_R_HAT = 1.05  # of a number, above which its chains do not agree
HELP_JOINT = (
    "method=NUTS() needs no guide; Annealed(), more num_particles or a longer fit may do, too"
)
HELP_UNITS = "method=Annealed() or more num_particles draw better"
HELP_CHAINS = (
    "more draws and a longer num_warmup help, or, where labels can change places, a model that puts them "
    "in order"
)


def disagreement(num_bad: int) -> tuple[str, ...]:
    """Return in a sentence that chains do not agree on some numbers, and what helps."""
    if not num_bad:
        return ()
    numbers = "1 number" if num_bad == 1 else f"{num_bad:,} numbers"
    return (f"the chains do not agree on {numbers} (R-hat above {BAD_R_HAT}); {HELP_CHAINS}",)


def bad_weights(posterior: "Posterior") -> tuple[str, ...]:
    """Return in a sentence that a few weights decide the figures, and what helps."""
    bad, units = int(posterior.without_error.sum()), len(posterior.without_error)
    if not bad:
        return ()
    where = "" if posterior.unit is None else f" of {bad:,} of {units:,} units"
    return (
        f"a few weights decide the figures{where} (Pareto k above {posterior.bad_k:.2f}, or hardly any "
        f"effective draw); {HELP_JOINT if posterior.unit is None else HELP_UNITS}",
    )
