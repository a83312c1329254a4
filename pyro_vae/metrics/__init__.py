"""Numbers from arrays alone: how well codes separate the factors that data were made from."""

from pyro_vae.metrics.dci import dci
from pyro_vae.metrics.factor_vae import factor_vae
from pyro_vae.metrics.mcc import mcc
from pyro_vae.metrics.mig import mig
from pyro_vae.metrics.mutual_information import entropy, mutual_information
from pyro_vae.metrics.sap import sap
from pyro_vae.metrics.score import Score
from pyro_vae.metrics.table import METRICS, Disentanglement, disentanglement

__all__ = [
    "METRICS",
    "Disentanglement",
    "Score",
    "dci",
    "disentanglement",
    "entropy",
    "factor_vae",
    "mcc",
    "mig",
    "mutual_information",
    "sap",
]
