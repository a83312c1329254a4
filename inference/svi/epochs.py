"""How many epochs a fit takes by default."""

import math
from collections.abc import Mapping
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.data import Batch
from pyro_vae.inference.svi.minibatching import Minibatching
from pyro_vae.inference.svi.trained_parameters import leaves
from pyro_vae.program.examination import Examination
from pyro_vae.program.trace import drawn_sites, observed_sites

DEFAULT_EPOCHS, MIN_EPOCHS = 100, 10
MAX_TOTAL_ROWS = 20_000_000  # data of more rows than this in 100 epochs get fewer epochs
MIN_STEPS = 5_000  # Adam moves a parameter by about its learning rate a step: 5 in all, at 1e-3
MAX_ROWS_FOR_MIN_STEPS = 5_000_000


def choose_epochs(
    minibatching: Minibatching,
    examined: Examination,
    first: Batch,
    parameters: Mapping[str, Tensor] | None,
) -> tuple[int, list[str]]:
    """Return how many epochs a fit takes, and a reason if they are not 100.

    There are 100 at most where the model could memorise its rows and no held-out data would show that.

    Args:
        examined: the program, run on the first rows, ``first``.
        parameters: all that are trained; None with held-out data.
    """
    epochs, rows = default_epochs(minibatching), f"{minibatching.num_rows:,} rows"
    times = "steps" if minibatching.steps_per_epoch == 1 else "epochs"
    if epochs == DEFAULT_EPOCHS:
        return epochs, []
    if epochs < DEFAULT_EPOCHS:
        return epochs, [f"{epochs:,} {times} of {rows}, as they are many"]
    if parameters is not None:
        num_values = _num_values(minibatching, examined, first)
        count = _num_likelihood_parameters(examined, first, parameters, num_values)
        if count > num_values:
            return DEFAULT_EPOCHS, [
                f"{DEFAULT_EPOCHS} {times}: in more, {count:,} parameters could memorise the "
                f"{num_values:,} values (with held-out rows, validation=, early stopping prevents that)"
            ]
    of = f" of {rows}, as they are few" if minibatching.num_rows > 1 else ", each of all data"
    return epochs, [f"{epochs:,} {times}{of}"]


def default_epochs(minibatching: Minibatching) -> int:
    """Return 100 epochs, more for small data, fewer for large.

    With S steps an epoch, and N rows, at least min(5,000 / S, 5,000,000 / N), rounded up: small data get
    5,000 steps, unless these take more than 5 million rows in all. Data of more than 200,000 rows get fewer
    than 100 epochs, for 20 million rows in all, but at least 10 epochs and 5,000 steps.

    >>> from pyro_vae.inference.svi.minibatching import Minibatching
    >>> counts = (150, 500, 60_000, 1_000_000, 10**8)
    >>> [default_epochs(Minibatching(count, 128, True)) for count in counts]
    [2500, 1250, 100, 20, 10]
    >>> [default_epochs(Minibatching(count, count, True)) for count in (1, 1_000, 20_000)]
    [5000, 5000, 250]
    """
    steps, rows = minibatching.steps_per_epoch, minibatching.num_rows
    at_least = min(MIN_STEPS / steps, MAX_ROWS_FOR_MIN_STEPS / rows)
    fewer = max(MIN_EPOCHS, MAX_TOTAL_ROWS / rows, MIN_STEPS / steps)
    return math.ceil(max(min(DEFAULT_EPOCHS, fewer), at_least))


def _num_values(minibatching: Minibatching, examined: Examination, first: Batch) -> int:
    """Return how many observed values all rows have."""
    observed = [site["value"].numel() for site in observed_sites(examined.model).values()]
    return sum(observed) * minibatching.num_rows // (len(first[0]) if first else 1)


def _num_likelihood_parameters(
    examined: Examination, first: Batch, parameters: Mapping[str, Tensor], num_values: int
) -> int:
    """Return how many parameters p(data | latents) has; 0 if all there are do not exceed ``num_values``."""
    if sum(parameter.numel() for parameter in parameters.values()) <= num_values:
        return 0
    latents = {name: site["value"].detach() for name, site in drawn_sites(examined.guide).items()}
    model = poutine.condition(examined.program.model, data=latents)
    with torch.enable_grad(), pyro.validation_enabled(False):
        nodes: Mapping[str, Any] = poutine.trace(model).get_trace(*first).nodes
        scores = [
            nodes[name]["fn"].log_prob(nodes[name]["value"]).sum()
            for name in observed_sites(examined.model)
        ]
    used = {id(leaf): leaf.numel() for score in scores for leaf in leaves(score)}
    return sum(used.values())
