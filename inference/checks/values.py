"""Whether a guide draws every value of a discrete latent that counts."""

import math
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.log_prob import score, unit_sum
from pyro_vae.program.probe import Traces
from pyro_vae.program.trace import Site, sample_sites, shape_of
from pyro_vae.program.wrappers import declared_events, inside

TRIES, TRIES_ALONE = 64, 8  # draws of the other latents, with a value that the guide never draws
# log-probabilities: the guide's below the first, the prior's above the second; torch keeps
# probabilities away from 0 by 1e-7
NEVER, SELDOM = math.log(2e-7), math.log(1e-4)
UNKNOWN = (NotImplementedError, RuntimeError, ValueError)  # errors of an unknown support
FROM_BOTH = "draw a share of the particles from the prior (prior_share)"


def check_values(bound_program: BoundProgram, name: str, site: Site, model_site: Site) -> None:
    """Check that the guide draws every value that counts: the weights do not show a value left out.

    If a unit draws the site once, the value is tried: the weights of the guide's other draws with it say
    which share of the evidence is left out.

    Raises:
        InputError: the share is more than one in 10,000, or not known.
    """
    structure = bound_program.structure
    missed = _never_drawn(site, model_site)
    if not missed:
        return
    once = shape_of(site["fn"]).numel() == structure.num_units * site["fn"].event_shape.numel()
    drawn = _log_share(bound_program) if once else torch.zeros(())
    for value, never in missed:
        there = never.reshape(never.shape + (1,) * site["fn"].event_dim)
        concerned = unit_sum({**site, "mask": None}, never.double(), structure) > 0
        counts: Any = True
        if once:
            left_out = _log_share(bound_program, name, torch.where(there, value, site["value"]))
            counts = left_out > torch.logaddexp(left_out, drawn) + SELDOM
        if (concerned & counts).any():
            raise InputError(
                f"the guide never draws some values of site {name!r} that prior and likelihood give a "
                "probability: they would be left out of the evidence",
                subject=name,
                remedy=f"give each value some probability in the guide, or {FROM_BOTH}",
            )


def _never_drawn(guide_site: Site, model_site: Site) -> list[tuple[Tensor, Tensor]]:
    """Return values, ``batch | event``, and for which draws, ``batch |``, the guide hardly has them."""
    guide, prior = (inside(site["fn"]) for site in (guide_site, model_site))
    if not (prior.has_enumerate_support and guide.has_enumerate_support):
        return []
    try:
        values = prior.enumerate_support(expand=True)
        never = (guide.log_prob(values) < NEVER) & (prior.log_prob(values) > SELDOM)
    except UNKNOWN:
        return []
    for _ in range(declared_events(guide_site["fn"])):
        never = never.any(-1)
    return [(value, there) for value, there in zip(values, never, strict=True) if there.any()]


def _log_share(bound_program: BoundProgram, name: str = "", value: Tensor | None = None) -> Tensor:
    """Return the log of the mean weight of some draws, (1, U).

    A site can be held at a value; its density in the guide does not count then.
    """
    held, structure = poutine.Trace(), bound_program.structure
    if value is not None:
        held.add_node(name, type="sample", is_observed=False, value=value, infer={})
    each, times = (TRIES, 1) if bound_program.vectorized else (1, TRIES_ALONE)
    logs = []
    for _ in range(times):
        guide = bound_program.guide(each, lambda guide: poutine.replay(guide, held))
        weights = (
            Traces(guide, bound_program.joint(each, guide), each).particles(structure).log_weights
        )
        if value is not None:
            weights = weights + score([sample_sites(guide)[name]], structure, each)
        logs.append(weights)
    return torch.cat(logs).logsumexp(0, keepdim=True) - math.log(each * times)
