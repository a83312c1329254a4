"""Networks map tensors to tensors; they hold no probability.

A network is made from the shapes of one input and one output, and from options of its class. It maps
``batch | in_shape`` to ``batch | out_shape`` for any number of batch dimensions. A part of a model that
needs a network takes anything that can be called with the two shapes: a class here, or
``functools.partial(MLP, hidden_dims=(200, 200))``.
"""

from pyro_vae.networks.conditions import OneHot, join
from pyro_vae.networks.convolutional import ConvDecoder, ConvEncoder
from pyro_vae.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from pyro_vae.networks.inputs import EmbeddedTokens, Flat, MaskedInput, Scaled
from pyro_vae.networks.mlp import MLP, GatedMLP
from pyro_vae.networks.network import Network, NetworkFactory, Shape
from pyro_vae.networks.residual import ResidualDecoder, ResidualEncoder
from pyro_vae.networks.sequences import GRU, Transformer
from pyro_vae.networks.sets import DeepSets
from pyro_vae.networks.spectral import SpectralNorm

__all__ = [
    "GRU",
    "MLP",
    "ConvDecoder",
    "ConvEncoder",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DeepSets",
    "EmbeddedTokens",
    "Flat",
    "GatedMLP",
    "MaskedInput",
    "Network",
    "NetworkFactory",
    "OneHot",
    "ResidualDecoder",
    "ResidualEncoder",
    "Scaled",
    "Shape",
    "SpectralNorm",
    "Transformer",
    "join",
]
