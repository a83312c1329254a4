"""A note where the data lie beyond all that the prior expects."""

from contextlib import suppress

import torch

from pyro_vae.data import Batch
from pyro_vae.errors import InputError
from pyro_vae.guides import AutoAmortized
from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.trace import is_factor, observed_sites, run

DRAWS = 32


def notes_on_the_prior(program: Program, first: Batch) -> list[str]:
    """Return a note on the first observed site whose median lies well beyond all draws from the prior.

    A guide made from the model starts at the prior, and its steps are in the prior's units: data that are
    hundreds of these away would take it too long. A guide by hand may start anywhere.
    """
    if not any(isinstance(module, AutoAmortized) for module in program.modules.values()):
        return []
    drawn: dict[str, list[torch.Tensor]] = {}
    medians: dict[str, float] = {}
    with undisturbed(program, 0), torch.no_grad():
        for _ in range(DRAWS):
            try:
                sites = observed_sites(run("model", program.model, first, {}))
            except (InputError, ValueError):  # an extreme draw may be too much for the model
                continue
            for name, site in sites.items():
                value = site["value"]
                with suppress(NotImplementedError):  # EKFDistribution has neither support nor draws
                    if is_factor(site) or site["fn"].support.is_discrete or value.isnan().all():
                        continue
                    drawn.setdefault(name, []).append(site["fn"].sample().flatten())
                    medians[name] = float(value.nanmedian())
    for name, parts in drawn.items():
        values = torch.cat(parts)
        low, high, median = float(values.min()), float(values.max()), medians[name]
        width = high - low  # the draws of a site with one number are often all on one side of it
        if not low - width <= median <= high + width:
            return [
                f"the data of {name!r} have the median {median:.4g}, and all draws of the prior lie "
                f"between {low:.4g} and {high:.4g}: if the fit is poor, widen the prior, or pass "
                "the data in units of their own, as in (x - x.mean()) / x.std()"
            ]
    return []
