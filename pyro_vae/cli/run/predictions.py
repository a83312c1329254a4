"""Data that a program predicts, with the argument that each of its sites observes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vae.program.contract import as_program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.trace import observed_sites, run, run_at


@dataclass(frozen=True)
class Prediction:
    """Hold a draw of an observed site, and the mean of its distribution, ``batch | event``.

    ``mean`` is the draw if the distribution has no mean. ``argument`` is the number of the argument that
    the site observes unchanged, or None.
    """

    value: Tensor
    mean: Tensor
    argument: int | None = None


def predictions(
    values: Mapping[str, Tensor], means: Mapping[str, Tensor], arguments: Mapping[str, int]
) -> dict[str, Prediction]:
    """Return what is known of each observed site."""
    return {
        name: Prediction(value, means[name], arguments.get(name)) for name, value in values.items()
    }


def observed_arguments(program: Any, *batch: Any, by_guide: bool = True) -> dict[str, int]:
    """Return the number of the argument that each site observes unchanged, if it does.

    Args:
        program: a model and guide.
        batch: their arguments.
        by_guide: whether the guide draws the latents for that, or the model itself.

    >>> from pyro_vae.models import FactorAnalysis
    >>> observed_arguments(FactorAnalysis((3,), 2), torch.zeros(5, 3))
    {'x': 0}
    """
    target = as_program(program)
    with undisturbed(target), torch.no_grad(), pyro.validation_enabled(False):
        if by_guide:
            trace = run_at(run("guide", target.guide, batch, {}), target.model, batch, {})
        else:
            trace = run("model", target.model, batch, {})
    numbers = {id(argument): number for number, argument in enumerate(batch)}
    observed = {
        name: numbers.get(id(site["value"])) for name, site in observed_sites(trace).items()
    }
    return {name: number for name, number in observed.items() if number is not None}
