"""The default objective."""

from typing import Any

import pyro.infer

from pyro_vae.inference.objectives.trace_elbo import TraceELBO
from pyro_vae.program.structure import Structure


def default_elbo(
    structure: Structure, num_particles: int = 1
) -> Any:  # Pyro's base declares no methods
    """Return the ELBO that sums out discrete latents marked ``infer={"enumerate": ...}``, if there are any.

    Args:
        structure: the program's sites and plates.
        num_particles: draws at once.
    """
    kind = pyro.infer.TraceEnum_ELBO if structure.marked else TraceELBO
    vectorized = num_particles > 1  # in a plate of their own, which Pyro counts
    return kind(
        num_particles,
        max_plate_nesting=structure.max_plate_nesting + vectorized,
        vectorize_particles=vectorized,
    )
