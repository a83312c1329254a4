"""Fit any Pyro model and guide, estimate its evidence, and draw its graph.

The verbs are here. The methods and results of inference are in :mod:`pyro_vae.inference`, the models in
:mod:`pyro_vae.models`, and their parts in :mod:`pyro_vae.priors`, :mod:`pyro_vae.guides`,
:mod:`pyro_vae.likelihoods`, :mod:`pyro_vae.networks` and :mod:`pyro_vae.flows`.
"""

from typing import TYPE_CHECKING

from pyro_vae._lazy import exports

if TYPE_CHECKING:  # what a type checker sees of the names below
    from pyro_vae.data import load as load
    from pyro_vae.errors import InputError as InputError
    from pyro_vae.graph import render_model as render_model
    from pyro_vae.inference.evidence.estimate import log_evidence as log_evidence
    from pyro_vae.inference.parameters.standard_errors import standard_errors as standard_errors
    from pyro_vae.inference.posterior.calibration import calibrate as calibrate
    from pyro_vae.inference.posterior.diagnostics import evaluate as evaluate
    from pyro_vae.inference.posterior.impute import impute as impute
    from pyro_vae.inference.posterior.posterior import posterior as posterior
    from pyro_vae.inference.svi.fit import fit as fit
    from pyro_vae.program.predict import latent_means as latent_means
    from pyro_vae.program.predict import prior_samples as prior_samples
    from pyro_vae.program.predict import reconstructions as reconstructions

__version__ = "0.1.0"

_HOMES = {
    "InputError": "pyro_vae.errors",
    "calibrate": "pyro_vae.inference.posterior.calibration",
    "evaluate": "pyro_vae.inference.posterior.diagnostics",
    "fit": "pyro_vae.inference.svi.fit",
    "impute": "pyro_vae.inference.posterior.impute",
    "latent_means": "pyro_vae.program.predict",
    "load": "pyro_vae.data",
    "log_evidence": "pyro_vae.inference.evidence.estimate",
    "posterior": "pyro_vae.inference.posterior.posterior",
    "prior_samples": "pyro_vae.program.predict",
    "reconstructions": "pyro_vae.program.predict",
    "render_model": "pyro_vae.graph",
    "standard_errors": "pyro_vae.inference.parameters.standard_errors",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
