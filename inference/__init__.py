"""The methods of inference and their results: what :func:`pyro_vae.fit` and its like take and return."""

from typing import TYPE_CHECKING

from pyro_vae._lazy import exports

if TYPE_CHECKING:  # what a type checker sees of the names below
    from pyro_vae.inference.comparison.active_units import ActiveUnits as ActiveUnits
    from pyro_vae.inference.comparison.column import Column as Column
    from pyro_vae.inference.comparison.column import Figures as Figures
    from pyro_vae.inference.comparison.compare import COLUMNS as COLUMNS
    from pyro_vae.inference.comparison.epoch_seconds import EpochSeconds as EpochSeconds
    from pyro_vae.inference.comparison.evidences import BayesFactor as BayesFactor
    from pyro_vae.inference.comparison.evidences import Difference as Difference
    from pyro_vae.inference.comparison.evidences import LogEvidence as LogEvidence
    from pyro_vae.inference.comparison.evidences import Probability as Probability
    from pyro_vae.inference.comparison.frechet_distance import FrechetDistance as FrechetDistance
    from pyro_vae.inference.comparison.kernel_distance import KernelDistance as KernelDistance
    from pyro_vae.inference.comparison.lineup import Candidate as Candidate
    from pyro_vae.inference.comparison.lineup import Lineup as Lineup
    from pyro_vae.inference.comparison.loo import LOO as LOO
    from pyro_vae.inference.comparison.over_seeds import OverSeeds as OverSeeds
    from pyro_vae.inference.comparison.parameters import Parameters as Parameters
    from pyro_vae.inference.comparison.plot import plot_comparison as plot_comparison
    from pyro_vae.inference.comparison.precision_recall import PrecisionRecall as PrecisionRecall
    from pyro_vae.inference.comparison.rate_distortion import RateDistortion as RateDistortion
    from pyro_vae.inference.comparison.result import Comparison as Comparison
    from pyro_vae.inference.comparison.seconds import Seconds as Seconds
    from pyro_vae.inference.comparison.squared_error import MSE as MSE
    from pyro_vae.inference.evidence.ais import Annealed as Annealed
    from pyro_vae.inference.evidence.auto import Auto as Auto
    from pyro_vae.inference.evidence.bidirectional import Bidirectional as Bidirectional
    from pyro_vae.inference.evidence.bidirectional import Sandwich as Sandwich
    from pyro_vae.inference.evidence.bridge import Bridge as Bridge
    from pyro_vae.inference.evidence.estimate import Interrupted as Interrupted
    from pyro_vae.inference.evidence.exact import Exact as Exact
    from pyro_vae.inference.evidence.importance import Importance as Importance
    from pyro_vae.inference.evidence.method import Advance as Advance
    from pyro_vae.inference.evidence.method import Estimator as Estimator
    from pyro_vae.inference.evidence.method import Method as Method
    from pyro_vae.inference.evidence.methods import METHODS as METHODS
    from pyro_vae.inference.evidence.plots import plot_evidence as plot_evidence
    from pyro_vae.inference.evidence.proposals import refined as refined
    from pyro_vae.inference.evidence.proposals import wider as wider
    from pyro_vae.inference.evidence.result import Evidence as Evidence
    from pyro_vae.inference.evidence.smc import SMC as SMC
    from pyro_vae.inference.evidence.unit_estimates import UnitEstimates as UnitEstimates
    from pyro_vae.inference.latent_space.direction import Direction as Direction
    from pyro_vae.inference.latent_space.interpolation import Interpolation as Interpolation
    from pyro_vae.inference.latent_space.of_rows import Latents as Latents
    from pyro_vae.inference.latent_space.paths import LatentPath as LatentPath
    from pyro_vae.inference.latent_space.paths import PriorDensity as PriorDensity
    from pyro_vae.inference.latent_space.paths import Spherical as Spherical
    from pyro_vae.inference.latent_space.paths import Straight as Straight
    from pyro_vae.inference.latent_space.traversal import Traversal as Traversal
    from pyro_vae.inference.parameters.estimates import ParameterEstimates as ParameterEstimates
    from pyro_vae.inference.posterior.diagnostics import Evaluation as Evaluation
    from pyro_vae.inference.posterior.guide_draws import Guide as Guide
    from pyro_vae.inference.posterior.guide_mean import GuideMean as GuideMean
    from pyro_vae.inference.posterior.impute import Imputation as Imputation
    from pyro_vae.inference.posterior.interval_plot import plot_intervals as plot_intervals
    from pyro_vae.inference.posterior.new_rows import LogPredictive as LogPredictive
    from pyro_vae.inference.posterior.nuts import NUTS as NUTS
    from pyro_vae.inference.posterior.pair_plot import plot_pairs as plot_pairs
    from pyro_vae.inference.posterior.predictive_plot import plot_predictive as plot_predictive
    from pyro_vae.inference.posterior.prior import PriorSamples as PriorSamples
    from pyro_vae.inference.posterior.rank_plot import plot_ranks as plot_ranks
    from pyro_vae.inference.posterior.ranks import Calibration as Calibration
    from pyro_vae.inference.posterior.result import Posterior as Posterior
    from pyro_vae.inference.posterior.summary import Summary as Summary
    from pyro_vae.inference.scoring.background import Background as Background
    from pyro_vae.inference.scoring.by import Score as Score
    from pyro_vae.inference.scoring.dose import DoSE as DoSE
    from pyro_vae.inference.scoring.input_complexity import InputComplexity as InputComplexity
    from pyro_vae.inference.scoring.plot import plot_scores as plot_scores
    from pyro_vae.inference.scoring.plot import plot_strangest as plot_strangest
    from pyro_vae.inference.scoring.reconstruction import Reconstruction as Reconstruction
    from pyro_vae.inference.scoring.regret import Regret as Regret
    from pyro_vae.inference.scoring.result import Scores as Scores
    from pyro_vae.inference.scoring.surprise import Surprise as Surprise
    from pyro_vae.inference.scoring.typicality import Typicality as Typicality
    from pyro_vae.inference.svi.fit_result import FitResult as FitResult
    from pyro_vae.inference.synthesis.report import SynthesisReport as SynthesisReport
    from pyro_vae.inference.synthesis.synthesize import Synthesis as Synthesis

_EVIDENCE, _POSTERIOR = "pyro_vae.inference.evidence", "pyro_vae.inference.posterior"
_COMPARISON, _SCORING = "pyro_vae.inference.comparison", "pyro_vae.inference.scoring"
_LATENT_SPACE = "pyro_vae.inference.latent_space"
_HOMES = {
    "Column": f"{_COMPARISON}.column",
    "Figures": f"{_COMPARISON}.column",
    "COLUMNS": f"{_COMPARISON}.compare",
    "BayesFactor": f"{_COMPARISON}.evidences",
    "Difference": f"{_COMPARISON}.evidences",
    "LogEvidence": f"{_COMPARISON}.evidences",
    "Probability": f"{_COMPARISON}.evidences",
    "Candidate": f"{_COMPARISON}.lineup",
    "Lineup": f"{_COMPARISON}.lineup",
    "LOO": f"{_COMPARISON}.loo",
    "plot_comparison": f"{_COMPARISON}.plot",
    "Comparison": f"{_COMPARISON}.result",
    "OverSeeds": f"{_COMPARISON}.over_seeds",
    "RateDistortion": f"{_COMPARISON}.rate_distortion",
    "EpochSeconds": f"{_COMPARISON}.epoch_seconds",
    "Seconds": f"{_COMPARISON}.seconds",
    "ActiveUnits": f"{_COMPARISON}.active_units",
    "FrechetDistance": f"{_COMPARISON}.frechet_distance",
    "KernelDistance": f"{_COMPARISON}.kernel_distance",
    "PrecisionRecall": f"{_COMPARISON}.precision_recall",
    "Parameters": f"{_COMPARISON}.parameters",
    "MSE": f"{_COMPARISON}.squared_error",
    "Advance": f"{_EVIDENCE}.method",
    "Estimator": f"{_EVIDENCE}.method",
    "METHODS": f"{_EVIDENCE}.methods",
    "UnitEstimates": f"{_EVIDENCE}.unit_estimates",
    "Annealed": f"{_EVIDENCE}.ais",
    "Auto": f"{_EVIDENCE}.auto",
    "Bidirectional": f"{_EVIDENCE}.bidirectional",
    "Bridge": f"{_EVIDENCE}.bridge",
    "Calibration": f"{_POSTERIOR}.ranks",
    "Evaluation": f"{_POSTERIOR}.diagnostics",
    "Evidence": f"{_EVIDENCE}.result",
    "Direction": f"{_LATENT_SPACE}.direction",
    "Exact": f"{_EVIDENCE}.exact",
    "FitResult": "pyro_vae.inference.svi.fit_result",
    "Guide": f"{_POSTERIOR}.guide_draws",
    "GuideMean": f"{_POSTERIOR}.guide_mean",
    "Importance": f"{_EVIDENCE}.importance",
    "Imputation": f"{_POSTERIOR}.impute",
    "Interrupted": f"{_EVIDENCE}.estimate",
    "Interpolation": f"{_LATENT_SPACE}.interpolation",
    "LatentPath": f"{_LATENT_SPACE}.paths",
    "Latents": f"{_LATENT_SPACE}.of_rows",
    "LogPredictive": f"{_POSTERIOR}.new_rows",
    "Method": f"{_EVIDENCE}.method",
    "NUTS": f"{_POSTERIOR}.nuts",
    "ParameterEstimates": "pyro_vae.inference.parameters.estimates",
    "Posterior": f"{_POSTERIOR}.result",
    "PriorSamples": f"{_POSTERIOR}.prior",
    "PriorDensity": f"{_LATENT_SPACE}.paths",
    "SMC": f"{_EVIDENCE}.smc",
    "Sandwich": f"{_EVIDENCE}.bidirectional",
    "Spherical": f"{_LATENT_SPACE}.paths",
    "Straight": f"{_LATENT_SPACE}.paths",
    "Synthesis": "pyro_vae.inference.synthesis.synthesize",
    "SynthesisReport": "pyro_vae.inference.synthesis.report",
    "Summary": f"{_POSTERIOR}.summary",
    "Traversal": f"{_LATENT_SPACE}.traversal",
    "plot_evidence": f"{_EVIDENCE}.plots",
    "plot_intervals": f"{_POSTERIOR}.interval_plot",
    "plot_pairs": f"{_POSTERIOR}.pair_plot",
    "plot_predictive": f"{_POSTERIOR}.predictive_plot",
    "plot_ranks": f"{_POSTERIOR}.rank_plot",
    "refined": f"{_EVIDENCE}.proposals",
    "wider": f"{_EVIDENCE}.proposals",
    "Background": f"{_SCORING}.background",
    "DoSE": f"{_SCORING}.dose",
    "InputComplexity": f"{_SCORING}.input_complexity",
    "Reconstruction": f"{_SCORING}.reconstruction",
    "Regret": f"{_SCORING}.regret",
    "Score": f"{_SCORING}.by",
    "Scores": f"{_SCORING}.result",
    "Surprise": f"{_SCORING}.surprise",
    "Typicality": f"{_SCORING}.typicality",
    "plot_scores": f"{_SCORING}.plot",
    "plot_strangest": f"{_SCORING}.plot",
}
__all__ = list(_HOMES)
__getattr__, __dir__ = exports(__name__, _HOMES)
