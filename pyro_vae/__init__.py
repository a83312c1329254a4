"""Fit any Pyro model and guide, estimate its evidence, and draw its graph.

The verbs are here. The methods and results of inference are in :mod:`pyro_vae.inference`, the models in
:mod:`pyro_vae.models`, and their parts in :mod:`pyro_vae.priors`, :mod:`pyro_vae.guides`,
:mod:`pyro_vae.likelihoods`, :mod:`pyro_vae.networks` and :mod:`pyro_vae.flows`.
"""

from typing import TYPE_CHECKING

from pyro_vae._lazy import exports

if TYPE_CHECKING:  # what a type checker sees of the names below
    from pyro_vae.cli.run.in_python import open_run as open_run
    from pyro_vae.data import load as load
    from pyro_vae.errors import InputError as InputError
    from pyro_vae.graph import render_model as render_model
    from pyro_vae.inference.comparison.compare import compare as compare
    from pyro_vae.inference.evidence.estimate import log_evidence as log_evidence
    from pyro_vae.inference.latent_space.interpolate import interpolate as interpolate
    from pyro_vae.inference.latent_space.latents import latents as latents
    from pyro_vae.inference.latent_space.traverse import traverse as traverse
    from pyro_vae.inference.parameters.standard_errors import standard_errors as standard_errors
    from pyro_vae.inference.posterior.calibration import calibrate as calibrate
    from pyro_vae.inference.posterior.diagnostics import evaluate as evaluate
    from pyro_vae.inference.posterior.posterior import posterior as posterior
    from pyro_vae.inference.posterior.prior import prior_samples as prior_samples
    from pyro_vae.inference.scoring.score import score as score
    from pyro_vae.inference.svi.fit import fit as fit
    from pyro_vae.inference.svi.restore import restore as restore
    from pyro_vae.inference.synthesis.report import synthesis_report as synthesis_report
    from pyro_vae.inference.synthesis.synthesize import synthesize as synthesize

__version__ = "0.1.0"

_HOMES = {
    "InputError": "pyro_vae.errors",
    "calibrate": "pyro_vae.inference.posterior.calibration",
    "compare": "pyro_vae.inference.comparison.compare",
    "evaluate": "pyro_vae.inference.posterior.diagnostics",
    "fit": "pyro_vae.inference.svi.fit",
    "interpolate": "pyro_vae.inference.latent_space.interpolate",
    "latents": "pyro_vae.inference.latent_space.latents",
    "load": "pyro_vae.data",
    "log_evidence": "pyro_vae.inference.evidence.estimate",
    "open_run": "pyro_vae.cli.run.in_python",
    "posterior": "pyro_vae.inference.posterior.posterior",
    "prior_samples": "pyro_vae.inference.posterior.prior",
    "render_model": "pyro_vae.graph",
    "restore": "pyro_vae.inference.svi.restore",
    "score": "pyro_vae.inference.scoring.score",
    "standard_errors": "pyro_vae.inference.parameters.standard_errors",
    "traverse": "pyro_vae.inference.latent_space.traverse",
    "synthesis_report": "pyro_vae.inference.synthesis.report",
    "synthesize": "pyro_vae.inference.synthesis.synthesize",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
