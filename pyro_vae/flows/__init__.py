"""Flows: learned bijections of R^D, with or without a context, for priors, guides and densities.

A flow is made from a dimension and a context dimension. It maps a context, ``batch | context_dim``, to a
bijection of noise, ``batch | dim``, to another vector of that size. A part of a model that needs a flow
takes anything that can be called with the two dimensions.
"""

from pyro_vae.flows.density import Density
from pyro_vae.flows.flow import (
    Autoregressive,
    Bijection,
    Coupling,
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
