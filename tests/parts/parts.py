"""A small version of every part, by name."""

from functools import partial
from typing import Any

from pyro_vae import flows, guides, likelihoods, priors
from pyro_vae.networks import MLP

small = partial(MLP, hidden_dims=(8,))
FLOWS: dict[str, Any] = {
    flow.__name__: partial(flow, num_layers=2, hidden_dims=(8,))
    for flow in (
        flows.Autoregressive,
        flows.InverseAutoregressive,
        flows.Coupling,
        flows.NeuralSpline,
    )
}
PRIORS: dict[str, Any] = {
    "StandardNormal": priors.StandardNormal,
    "LearnedNormal": priors.LearnedNormal,
    "GaussianMixture": partial(priors.GaussianMixture, num_components=3),
    "VampPrior": partial(priors.VampPrior, num_components=3),
    **{f"FlowPrior-{name}": partial(priors.FlowPrior, flow=flow) for name, flow in FLOWS.items()},
}
GUIDES: dict[str, Any] = {
    "MeanFieldNormal": guides.MeanFieldNormal,
    "FullCovarianceNormal": guides.FullCovarianceNormal,
    "LowRankNormal": guides.LowRankNormal,
    "MixtureNormal": partial(guides.MixtureNormal, num_components=3),
    **{
        f"FlowGuide-{name}": partial(guides.FlowGuide, flow=flow, context_dim=3)
        for name, flow in FLOWS.items()
    },
}
levels = {"levels": 17}
COLUMNS = [
    likelihoods.HeteroscedasticNormal,
    likelihoods.Bernoulli,
    likelihoods.LogNormal,
    likelihoods.HeteroscedasticNormal,
    likelihoods.NegativeBinomial,
    partial(likelihoods.Tokens, num_tokens=4),
]
CONTINUOUS: dict[str, Any] = {
    likelihood.__name__: likelihood
    for likelihood in (
        likelihoods.ContinuousBernoulli,
        likelihoods.Beta,
        likelihoods.Normal,
        likelihoods.FixedScaleNormal,
        likelihoods.HeteroscedasticNormal,
        likelihoods.LogNormal,
        likelihoods.StudentT,
    )
}
DISCRETE: dict[str, Any] = {
    **{
        likelihood.__name__: likelihood
        for likelihood in (
            likelihoods.Bernoulli,
            likelihoods.Poisson,
            likelihoods.NegativeBinomial,
            likelihoods.ZeroInflatedPoisson,
            likelihoods.ZeroInflatedNegativeBinomial,
        )
    },
    "Tokens": partial(likelihoods.Tokens, num_tokens=5),
    "Categorical": partial(likelihoods.Categorical, **levels),
    "DiscretizedLogistic": partial(likelihoods.DiscretizedLogistic, **levels),
    "DiscretizedLogisticMixture": partial(
        likelihoods.DiscretizedLogisticMixture, num_components=3, **levels
    ),
}
LIKELIHOODS = {**CONTINUOUS, **DISCRETE}
