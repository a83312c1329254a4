"""What is maximised where nobody says what."""

from typing import Any

import pyro.infer

from pyro_vae.inference.objectives.trace_elbo import TraceELBO
from pyro_vae.program.structure import Layout


def default_elbo(layout: Layout, num_particles: int = 1) -> Any:  # Pyro's base declares no methods
    """The ELBO; discrete latents that are marked ``infer={"enumerate": ...}`` are summed over.

    :param num_particles: draws made together.
    """
    kind = pyro.infer.TraceEnum_ELBO if layout.marked else TraceELBO
    together = num_particles > 1  # in a plate of their own, which Pyro counts
    return kind(
        num_particles, max_plate_nesting=layout.nesting + together, vectorize_particles=together
    )
