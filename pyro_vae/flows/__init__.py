"""Flows: learned bijections of R^D, with or without a context, for priors and guides to be built on.

A flow is made from a dimension and a context dimension, and maps a context, ``batch | context_dim``, to
a bijection of noise, ``batch | dim``, into another vector of as many. Where a part of a model wants a
flow it takes anything that can be called with the two numbers.
"""

from pyro_vae.flows.flow import (
    Autoregressive,
    Bijection,
    Coupling,
    Density,
    Flow,
    FlowFactory,
    InverseAutoregressive,
    NeuralSpline,
)
from pyro_vae.flows.images import Glow

__all__ = [
    "Autoregressive",
    "Bijection",
    "Coupling",
    "Density",
    "Flow",
    "FlowFactory",
    "Glow",
    "InverseAutoregressive",
    "NeuralSpline",
]
