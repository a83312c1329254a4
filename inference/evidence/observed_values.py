"""What each unit observed, in a few numbers: they show whether two evidences are of the same data.

The values count as a set, whatever the sites are called and however many there are, and whatever order
the program has them in. Covariates, which no site observes, do not count, nor does what a mask takes out.
"""

from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import OneHotCategorical
from torch import Tensor
from torch.distributions import constraints

from pyro_vae.distributions.tables import ColumnSupports
from pyro_vae.program.log_prob import unit_sum
from pyro_vae.program.masks import mask_of
from pyro_vae.program.structure import Structure
from pyro_vae.program.support import support_of
from pyro_vae.program.trace import Site, is_factor, observed_sites
from pyro_vae.program.wrappers import innermost

PROBABILITIES, DENSITIES, FINGERPRINT = "probabilities", "densities", "fingerprint"
OF_PROBABILITIES = "fingerprint of probabilities"
SUM, SQUARES, FACTORS = "sum", "squares", "factors"
# multipliers of the hash, odd and below 2^63 (G. L. Steele et al., "Fast splittable pseudorandom number
# generators", 2014, has the steps)
_MULTIPLIERS = (0x1E3779B97F4A7C15, 0x3F58476D1CE4E5B9, 0x14D049BB133111EB)


def observed_values(trace: poutine.Trace, structure: Structure) -> dict[str, Tensor]:
    """Return facts about the observed values of each unit, ``units |``.

    Args:
        trace: of the model, without a dimension for particles.
        structure: its units.

    Returns:
        by name: how many values are scored by ``probabilities`` and how many by ``densities``; the
        ``sum`` and the sum of ``squares`` of all; ``factors``, the number of ``pyro.factor`` statements,
        whose data cannot be seen; and the ``fingerprint``, a sum of hashes of the values in float32, of all
        and of those that are scored by probabilities.
    """
    counts = torch.zeros(structure.num_units, dtype=torch.long)
    whole = (PROBABILITIES, DENSITIES, FINGERPRINT, OF_PROBABILITIES, FACTORS)
    totals = dict.fromkeys(whole, counts)
    totals |= dict.fromkeys((SUM, SQUARES), counts.double())
    for site in observed_sites(trace).values():
        if is_factor(site):
            totals[FACTORS] = totals[FACTORS] + 1
            continue
        for name, part in _facts(site, structure).items():
            summed = unit_sum({**site, "mask": None}, part, structure)
            totals[name] = totals[name] + summed[0].cpu()
    return totals


def merged(facts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the facts about all units together, each ``1 |``."""
    return {name: values.sum().reshape(1) for name, values in facts.items()}


def _facts(site: Site, structure: Structure) -> dict[str, Tensor]:
    """Return the facts at each place in the plates, ``batch |``."""
    fn, value, counts = site["fn"], site["value"], mask_of(site)
    plates = structure.max_plate_nesting  # enumerated dimensions lie further left
    expected = torch.Size(
        (*fn.batch_shape[-plates:], *fn.event_shape) if plates else fn.event_shape
    )
    value = value.expand(torch.broadcast_shapes(value.shape, expected))
    while counts.dim() > value.dim():
        counts = counts[0]
    counts = counts.expand(value.shape)
    if isinstance(innermost(fn), OneHotCategorical):  # the number of the class says the same
        value, counts = value.argmax(-1, keepdim=True), counts[..., :1]
    counts = counts & ~value.isnan()

    def over_event(each: Tensor) -> Tensor:
        each = torch.where(counts, each, torch.zeros_like(each))
        return each.flatten(each.dim() - fn.event_dim).sum(-1) if fn.event_dim else each

    wide, hashes, is_discrete = value.double(), _hashed(value), _is_discrete(fn, value)
    return {
        PROBABILITIES: over_event(is_discrete.long()),
        DENSITIES: over_event((~is_discrete).long()),
        FINGERPRINT: over_event(hashes),
        OF_PROBABILITIES: over_event(torch.where(is_discrete, hashes, 0)),
        SUM: over_event(wide),
        SQUARES: over_event(wide.square()),
    }


def _is_discrete(fn: Any, value: Tensor) -> Tensor:
    """Return which values a distribution gives a probability; one without a support has a density."""
    try:
        return _within(support_of(fn), value)
    except (AttributeError, NotImplementedError):
        return torch.zeros_like(value, dtype=torch.bool)


def _within(support: Any, value: Tensor) -> Tensor:
    """Return which values lie in a discrete part of a support; the columns of a table have one each."""
    if isinstance(support, ColumnSupports):
        return support.by_group(_within, value)
    inner = getattr(support, "base_constraint", getattr(support, "base", None))
    if isinstance(inner, constraints.Constraint):  # of a vector, of a mixture, with missing values
        return _within(inner, value)
    return torch.full_like(value, bool(support.is_discrete), dtype=torch.bool)


def _hashed(values: Tensor) -> Tensor:
    """Return a hash of each value as a float32, int64; its sums wrap around."""
    x = (values.float() + 0.0).contiguous().view(torch.int32).long()  # -0 becomes 0
    for multiplier in _MULTIPLIERS:
        x = x * multiplier
        x = x ^ (x >> 31 & 0x1FFFFFFFF)
    return x
