"""Amortised guides q(z | x): an encoder's output as a distribution over a latent vector.

Each is made from the data's shape, the latent dimension and an encoder, which is anything that makes a
network from an input and an output shape. Guides of several latent layers also take the networks between
the layers and the model's layers.
"""

from pyro_vae.guides.auto_amortized import AutoAmortized
from pyro_vae.guides.categorical import Categorical, RelaxedCategorical
from pyro_vae.guides.flow import FlowGuide
from pyro_vae.guides.guide import AmortizedGuide, GuideFactory
from pyro_vae.guides.hierarchical import (
    BottomUp,
    HierarchicalGuide,
    HierarchicalGuideFactory,
    Ladder,
)
from pyro_vae.guides.implicit import Implicit
from pyro_vae.guides.mixture import MixtureNormal
from pyro_vae.guides.normal import FullCovarianceNormal, LowRankNormal, MeanFieldNormal
from pyro_vae.guides.sphere import VonMisesFisher

__all__ = [
    "AmortizedGuide",
    "AutoAmortized",
    "BottomUp",
    "Categorical",
    "FlowGuide",
    "FullCovarianceNormal",
    "GuideFactory",
    "HierarchicalGuide",
    "HierarchicalGuideFactory",
    "Implicit",
    "Ladder",
    "LowRankNormal",
    "MeanFieldNormal",
    "MixtureNormal",
    "RelaxedCategorical",
    "VonMisesFisher",
]
