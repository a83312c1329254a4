"""Pyro's AutoGuides, which set themselves up at their first call."""

from pyro.infer.autoguide import AutoGuide

from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import modules_of


def has_unset_autoguide(program: Program) -> bool:
    """Return whether a guide has yet to take its parameters' shapes from the first data of a call."""
    parts = modules_of(program)
    return any(isinstance(part, AutoGuide) and part.prototype_trace is None for part in parts)
