"""Whether a model could learn its data by heart, which held-out data alone would show."""

from collections.abc import Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.data import Batch
from pyro_vae.examination import Examination
from pyro_vae.inference.rows import Rows
from pyro_vae.inference.step import leaves
from pyro_vae.traces import drawn_sites, observed_sites


def memorising(
    examined: Examination, first: Batch, rows: Rows, parameters: Mapping[str, Tensor]
) -> tuple[int, int] | None:
    """How many parameters p(data | latents) has, and how many values the data, where these are fewer.

    :param first: the rows that were examined.
    :param parameters: all that are trained.
    """
    observed = [site["value"].numel() for site in observed_sites(examined.model).values()]
    values = sum(observed) * rows.num_rows // (len(first[0]) if first else 1)
    if sum(parameter.numel() for parameter in parameters.values()) <= values:
        return None
    latents = {name: site["value"].detach() for name, site in drawn_sites(examined.guide).items()}
    model = poutine.condition(examined.program.model, data=latents)
    with torch.enable_grad(), pyro.validation_enabled(False):
        nodes: Mapping[str, Any] = poutine.trace(model).get_trace(*first).nodes
        scores = [
            nodes[name]["fn"].log_prob(nodes[name]["value"]).sum()
            for name in observed_sites(examined.model)
        ]
    used = {id(leaf): leaf.numel() for score in scores for leaf in leaves(score)}
    count = sum(used.values())
    return (count, values) if count > values else None
