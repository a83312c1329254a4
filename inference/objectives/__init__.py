"""Objectives of SVI, one a file: each is a Pyro ELBO over any program.

``docs/objectives.md`` compares them.
"""

from pyro_vae.inference.objectives.aae import AAE
from pyro_vae.inference.objectives.adversarial import Adversarial
from pyro_vae.inference.objectives.adversarial_losses import (
    AdversarialLoss,
    Hinge,
    LeastSquares,
    LogRatio,
    NonSaturating,
    Relativistic,
    Wasserstein,
)
from pyro_vae.inference.objectives.avb import AVB
from pyro_vae.inference.objectives.bigan import BiGAN
from pyro_vae.inference.objectives.capacity import Capacity
from pyro_vae.inference.objectives.ciwae import CIWAE
from pyro_vae.inference.objectives.default import default_elbo
from pyro_vae.inference.objectives.dip import DIPVAE1, DIPVAE2
from pyro_vae.inference.objectives.dreg import DReG
from pyro_vae.inference.objectives.epoch_schedules import Cyclical, Linear, Schedule
from pyro_vae.inference.objectives.factor_vae import FactorVAE
from pyro_vae.inference.objectives.free_bits import FreeBits
from pyro_vae.inference.objectives.iwae import IWAE
from pyro_vae.inference.objectives.miwae import MIWAE
from pyro_vae.inference.objectives.mmd import WAE, Gaussian, InfoVAE, InverseMultiquadric, Kernel
from pyro_vae.inference.objectives.objective import Objective
from pyro_vae.inference.objectives.penalties import R1, R1R2, GradientPenalty, Penalty
from pyro_vae.inference.objectives.piwae import PIWAE
from pyro_vae.inference.objectives.renyi import Renyi
from pyro_vae.inference.objectives.sticking_the_landing import Landing, StickingTheLanding
from pyro_vae.inference.objectives.tc import TCVAE
from pyro_vae.inference.objectives.tempered import Tempered
from pyro_vae.inference.objectives.trace_elbo import TraceELBO
from pyro_vae.inference.objectives.vae_gan import VAEGAN
from pyro_vae.inference.objectives.wake_sleep import WakeSleep

__all__ = [
    "AAE",
    "AVB",
    "CIWAE",
    "DIPVAE1",
    "DIPVAE2",
    "IWAE",
    "MIWAE",
    "PIWAE",
    "R1",
    "R1R2",
    "TCVAE",
    "VAEGAN",
    "WAE",
    "Adversarial",
    "AdversarialLoss",
    "BiGAN",
    "Capacity",
    "Cyclical",
    "DReG",
    "FactorVAE",
    "FreeBits",
    "Gaussian",
    "GradientPenalty",
    "Hinge",
    "InfoVAE",
    "InverseMultiquadric",
    "Kernel",
    "Landing",
    "LeastSquares",
    "Linear",
    "LogRatio",
    "NonSaturating",
    "Objective",
    "Penalty",
    "Relativistic",
    "Renyi",
    "Schedule",
    "StickingTheLanding",
    "Tempered",
    "TraceELBO",
    "WakeSleep",
    "Wasserstein",
    "default_elbo",
]
