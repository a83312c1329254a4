"""Where shared latents start: at the prior's location, or at a draw that suits the data better."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from pyro_vae.guides.latent import Latent
from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.trace import Site, latent_sites, observed_sites, run, sample_sites


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
    be that many standard deviations off. Discrete latents are summed out: beside one drawn path of a hidden
    Markov model, a state's location shows nothing.
    """
    values = {}
    for name, latent in known.items():
        site = cast(Site, draws[0].nodes[name])
        free = latent.location.reshape(latent.coordinates.shape)
        values[name] = latent.coordinates.transform(free).expand(site["value"].shape)
    candidates = [{n: cast(Site, draw.nodes[n])["value"] for n in known} for draw in draws]
    frames = (f for site in sample_sites(draws[0]).values() for f in site["cond_indep_stack"])
    nesting = max((-f.dim for f in frames if f.vectorized), default=0)
    sums_out = any(name not in known for name in latent_sites(draws[0]))
    with undisturbed(target, 0), torch.no_grad(), pyro.validation_enabled(False):

        def log_likelihood(values: dict[str, Tensor], trace: poutine.Trace) -> float:
            if not sums_out:
                return _log_likelihood(trace)
            elbo = TraceEnum_ELBO(max_plate_nesting=nesting, strict_enumeration_warning=False)
            model = poutine.condition(target.model, values)
            joint = -float(elbo.loss(model, lambda *_, **__: None, *args, **kwargs))
            likelihood = joint - float(trace.log_prob_sum(lambda name, _: name in values))
            return likelihood if math.isfinite(likelihood) else -math.inf

        trace = run("model", poutine.condition(target.model, values), args, kwargs)
        try:
            at_location = log_likelihood(values, trace)
        except NotImplementedError:  # latents in crossing plates: the fit says so, and what to do
            return None
        scores = [*map(log_likelihood, candidates, draws)]
    best = max(range(len(draws)), key=scores.__getitem__)
    size = sum(latent.size for latent in known.values())
    if not scores[best] > at_location + (size if math.isfinite(at_location) else 0):
        return None
    return candidates[best]


def _log_likelihood(trace: poutine.Trace) -> float:
    """Return the log-density of the observed sites; -inf if that of any site is not finite."""
    if not math.isfinite(trace.log_prob_sum()):
        return -math.inf
    observed = observed_sites(trace)
    return float(trace.log_prob_sum(lambda name, _: name in observed))
