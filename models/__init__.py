"""Generative models, one in each file."""

from pyro_vae.models.autoencoder import Autoencoder
from pyro_vae.models.conditional import ConditionalVAE
from pyro_vae.models.deep_markov import DeepMarkov
from pyro_vae.models.exemplar_density import ExemplarDensity
from pyro_vae.models.factor_analysis import FactorAnalysis
from pyro_vae.models.flow import DequantizedFlow, FlowDensity
from pyro_vae.models.gan import GAN
from pyro_vae.models.hierarchical import HierarchicalVAE
from pyro_vae.models.item_response import ItemResponse
from pyro_vae.models.mixture import MixtureVAE
from pyro_vae.models.semi_supervised import SemiSupervisedVAE
from pyro_vae.models.state_space import StateSpace
from pyro_vae.models.table import Table
from pyro_vae.models.token_vae import TokenVAE
from pyro_vae.models.vae import VAE
from pyro_vae.models.vq import VQVAE

__all__ = [
    "GAN",
    "VAE",
    "VQVAE",
    "Autoencoder",
    "ConditionalVAE",
    "DeepMarkov",
    "DequantizedFlow",
    "ExemplarDensity",
    "FactorAnalysis",
    "FlowDensity",
    "HierarchicalVAE",
    "ItemResponse",
    "MixtureVAE",
    "SemiSupervisedVAE",
    "StateSpace",
    "Table",
    "TokenVAE",
]
