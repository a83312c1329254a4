"""How many epochs a fit takes where nobody says."""

import math
from collections.abc import Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.data import Batch
from pyro_vae.inference.svi.rows import Rows
from pyro_vae.inference.svi.step import leaves
from pyro_vae.program.examination import Examination
from pyro_vae.program.trace import drawn_sites, observed_sites

USUAL_EPOCHS, LEAST_EPOCHS = 100, 10
MOST_ROWS_IN_ALL = 20_000_000  # of more, fewer epochs than the usual do
ENOUGH_STEPS = 5_000  # Adam moves a parameter by about its learning rate a step: 5 in all, at 1e-3
ENOUGH_ROWS = 5_000_000


def epochs_for(
    rows: Rows, examined: Examination, first: Batch, parameters: Mapping[str, Tensor] | None
) -> tuple[int, list[str]]:
    """How many epochs a program takes, and why, if not 100.

    Of a model that could learn its rows by heart it is 100 at most, if no held-out data would show that.

    :param first: the rows that were examined.
    :param parameters: all that are trained; None where data are held out.
    """
    many = default_epochs(rows)
    if many == USUAL_EPOCHS:
        return many, []
    if many < USUAL_EPOCHS:
        return many, [f"{many:,} epochs of {rows.num_rows:,} rows, as they are many"]
    found = None if parameters is None else _by_heart(rows, examined, first, parameters)
    if found is not None:
        count, values = found
        return USUAL_EPOCHS, [
            f"{USUAL_EPOCHS} epochs: in more, {count:,} parameters could learn the {values:,} values by "
            "heart (validation=, rows of their own, would tell when)"
        ]
    return many, [f"{many:,} epochs of {rows.num_rows:,} rows, as they are few"]


def default_epochs(rows: Rows) -> int:
    """How many passes a fit takes where nobody says: 100, more of small data, fewer of large.

    With S steps an epoch, and N rows, at least min(5,000 / S, 5,000,000 / N), rounded up: small data get
    5,000 steps, unless a step is of so many rows that they are more than 5 million in all. Data of more
    than 200,000 rows are passed over fewer times than 100, for 20 million in all, but at least 10 times and
    for 5,000 steps.

    >>> from pyro_vae.inference.svi.rows import Rows
    >>> [default_epochs(Rows(count, 128, True)) for count in (150, 500, 60_000, 1_000_000, 10**8)]
    [2500, 1250, 100, 20, 10]
    >>> [default_epochs(Rows(count, count, True)) for count in (1, 1_000, 20_000)]
    [5000, 5000, 250]
    """
    enough = min(ENOUGH_STEPS / rows.steps, ENOUGH_ROWS / rows.num_rows)
    fewer = max(LEAST_EPOCHS, MOST_ROWS_IN_ALL / rows.num_rows, ENOUGH_STEPS / rows.steps)
    return math.ceil(max(min(USUAL_EPOCHS, fewer), enough))


def _by_heart(
    rows: Rows, examined: Examination, first: Batch, parameters: Mapping[str, Tensor]
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
