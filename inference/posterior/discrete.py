"""Latents that the model sums out, drawn back from their exact conditional given the others."""

from collections.abc import Collection
from typing import Any

from pyro import poutine
from pyro.infer import infer_discrete
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyro_vae.inference.posterior.at_draws import Values, in_parts
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.masks import unmask
from pyro_vae.program.trace import sample_sites

DRAW, BEST = 1, 0  # Pyro's temperatures


def discrete_given(
    bound_program: BoundProgram, values: Values, num_particles: int, temperature: int = DRAW
) -> dict[str, Tensor]:
    """Return the summed-out latents given the others and the data, ``K | batch | event``.

    A draw comes from p(discrete | continuous, x), by forward filtering and backward sampling. With the
    temperature ``BEST`` it is the most probable of all values together, as the Viterbi path of a hidden
    Markov model. A state that a mask takes out follows its prior.

    Args:
        bound_program: the call.
        values: of the other latents, ``K | batch | event``.
        num_particles: K.
        temperature: ``DRAW`` or ``BEST``.

    Source: F. Obermeyer et al., "Tensor variable elimination for plated factor graphs", 2019,
    https://arxiv.org/abs/1902.03210.
    """
    structure = bound_program.structure
    counting = set(structure.enumerated) - set(structure.without_prior)

    def run(count: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        model = bound_program.chains(bound_program.program.model, count)
        # not replayed: Pyro gives dimensions for values to sites that are observed, but not to those
        model = poutine.condition(_Unmasked(counting)(model), data=given)
        tracer = poutine.trace(model)
        # the first dimension on the left of the plates and the particles
        draw = infer_discrete(tracer, -2 - structure.max_plate_nesting, temperature)
        draw(*bound_program.args, **bound_program.kwargs)
        sites = sample_sites(tracer.trace)
        return {name: sites[name]["value"] for name in structure.enumerated}

    return in_parts(bound_program, run, num_particles, values)


class _Unmasked(Messenger):
    """Let latents that take all their values count everywhere: masked out, all values together count 1."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__()
        self.names = names

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.names:
            unmask(msg)
