"""Which argument each observed site observes unchanged."""

from typing import Any

import pyro
import torch
from pyro import poutine

from pyro_vae.program.contract import as_program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.trace import observed_sites, run, run_at


def observed_arguments(program: Any, *batch: Any, by_guide: bool = True) -> dict[str, int]:
    """Return the number of the argument that each site observes unchanged, if it does.

    Args:
        program: a model and guide.
        batch: their arguments.
        by_guide: whether the guide draws the latents for that, or the model itself.

    >>> import pyro.distributions as dist
    >>> def model(x):
    ...     with pyro.plate("data", len(x)):
    ...         pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)
    >>> observed_arguments((model, lambda x: None), torch.zeros(5))
    {'x': 0}
    """
    target = as_program(program)
    with undisturbed(target), torch.no_grad(), pyro.validation_enabled(False):
        if by_guide:
            trace = run_at(run("guide", target.guide, batch, {}), target.model, batch, {})
        else:
            trace = run("model", target.model, batch, {})
    return arguments_in(trace, batch)


def arguments_in(model_trace: poutine.Trace, batch: tuple[Any, ...]) -> dict[str, int]:
    """Return the number of the argument that each site of a trace observes unchanged, if it does."""
    numbers = {id(argument): number for number, argument in enumerate(batch)}
    observed = {
        name: numbers.get(id(site["value"])) for name, site in observed_sites(model_trace).items()
    }
    return {name: number for name, number in observed.items() if number is not None}
