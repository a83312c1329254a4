"""Where shared latents start: at the prior's location, or at a draw that suits the data better."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.guides.latent import Latent
from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.trace import Site, observed_sites, run


def probable_draw(
    target: Program,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    draws: Sequence[poutine.Trace],
    known: Mapping[str, Latent],
) -> dict[str, Tensor] | None:
    """Return that draw of the prior at which the data are most probable; None for the prior's location.

    A guide that starts where data are impossible has no loss, and one that starts where they are very
    improbable has gradients that an optimizer remembers for thousands of steps. So a draw has to make the
    data more probable than the location does by a nat for each coordinate: it is where the location could
    be that many standard deviations off.
    """
    values = {}
    for name, latent in known.items():
        site = cast(Site, draws[0].nodes[name])
        free = latent.location.reshape(latent.coordinates.shape)
        values[name] = latent.coordinates.transform(free).expand(site["value"].shape)
    with undisturbed(target, 0), torch.no_grad(), pyro.validation_enabled(False):
        trace = run("model", poutine.condition(target.model, values), args, kwargs)
        at_location = _log_likelihood(trace)
        scores = [_log_likelihood(draw) for draw in draws]
    best = max(range(len(draws)), key=scores.__getitem__)
    size = sum(latent.size for latent in known.values())
    if not scores[best] > at_location + (size if math.isfinite(at_location) else 0):
        return None
    return {name: cast(Site, draws[best].nodes[name])["value"] for name in known}


def _log_likelihood(trace: poutine.Trace) -> float:
    """Return the log-density of the observed sites; -inf if that of any site is not finite."""
    if not math.isfinite(trace.log_prob_sum()):
        return -math.inf
    observed = observed_sites(trace)
    return float(trace.log_prob_sum(lambda name, _: name in observed))
