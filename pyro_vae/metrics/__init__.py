"""Numbers from arrays alone: samples beside data, reconstructions, and codes beside their factors."""

from pyro_vae.metrics.dci import dci
from pyro_vae.metrics.density_coverage import coverage, density
from pyro_vae.metrics.factor_vae import factor_vae
from pyro_vae.metrics.features.features import Features
from pyro_vae.metrics.features.inception import inception
from pyro_vae.metrics.features.module import ModuleFeatures
from pyro_vae.metrics.features.networks import classifier, random_network
from pyro_vae.metrics.features.principal_components import PrincipalComponents
from pyro_vae.metrics.frechet import frechet_distance
from pyro_vae.metrics.kernel import kernel_distance
from pyro_vae.metrics.mcc import mcc
from pyro_vae.metrics.memorisation import memorisation, nearest_rows
from pyro_vae.metrics.mig import mig
from pyro_vae.metrics.mutual_information import entropy, mutual_information
from pyro_vae.metrics.precision_recall import precision, recall
from pyro_vae.metrics.sap import sap
from pyro_vae.metrics.squared_error import mse, psnr
from pyro_vae.metrics.ssim import ssim
from pyro_vae.metrics.table import METRICS, Disentanglement, disentanglement
from pyro_vae.metrics.value import MetricValue

__all__ = [
    "METRICS",
    "Disentanglement",
    "Features",
    "MetricValue",
    "ModuleFeatures",
    "PrincipalComponents",
    "classifier",
    "coverage",
    "dci",
    "density",
    "disentanglement",
    "entropy",
    "factor_vae",
    "frechet_distance",
    "inception",
    "kernel_distance",
    "mcc",
    "memorisation",
    "mig",
    "mse",
    "mutual_information",
    "nearest_rows",
    "precision",
    "psnr",
    "random_network",
    "recall",
    "sap",
    "ssim",
]
