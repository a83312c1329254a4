"""Programs whose evidence is known exactly, of as many structures as one can think of."""

from oracles import conjugate, discrete, gaussian, guides, latents, masks, plates
from oracles.oracle import ORACLES, Oracle, agrees, errors_off

__all__ = [
    "ORACLES",
    "Oracle",
    "agrees",
    "conjugate",
    "discrete",
    "errors_off",
    "gaussian",
    "guides",
    "latents",
    "masks",
    "plates",
]
