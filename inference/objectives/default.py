"""What is maximised where nobody says what."""

from typing import Any

import pyro.infer

from pyro_vae.inference.objectives.trace_elbo import TraceELBO
from pyro_vae.program.structure import Structure


def default_elbo(
    structure: Structure, num_particles: int = 1
) -> Any:  # Pyro's base declares no methods
    """The ELBO; discrete latents that are marked ``infer={"enumerate": ...}`` are summed over.

    :param num_particles: draws made together.
    """
    kind = pyro.infer.TraceEnum_ELBO if structure.marked else TraceELBO
    vectorized = num_particles > 1  # in a plate of their own, which Pyro counts
    return kind(
        num_particles,
        max_plate_nesting=structure.max_plate_nesting + vectorized,
        vectorize_particles=vectorized,
    )
