"""A small version of every part, by name."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyro_vae import flows, guides, likelihoods, networks, priors
from pyro_vae.models import VAE
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
CONSTRAINED = {
    "sphere": (priors.SphericalUniform, guides.VonMisesFisher),
    "simplex": (priors.RelaxedCategorical, guides.RelaxedCategorical),
}
ENCODERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "GatedMLP": (partial(networks.GatedMLP, hidden_dims=(8,)), (5,)),
    "ResidualEncoder": (partial(networks.ResidualEncoder, channels=(4, 4)), (1, 5, 6)),
    "DeepSets": (partial(networks.DeepSets, element=small, network=small, width=8), (4, 3)),
    "GRU": (partial(networks.GRU, hidden_dim=8, num_layers=2), (4, 3)),
    "Transformer": (partial(networks.Transformer, width=8, num_heads=2), (4, 3)),
    "DCGANDiscriminator": (partial(networks.DCGANDiscriminator, channels=(4, 4)), (1, 5, 6)),
    "MaskedInput": (partial(networks.MaskedInput, network=small), (5,)),
    "MaskedInput-images": (
        partial(networks.MaskedInput, network=partial(networks.ConvEncoder, channels=(4,))),
        (2, 5, 6),
    ),
}

make = partial(VAE, encoder=small, decoder=small)


def data_for(likelihood: Any, columns: int = 4) -> Tensor:
    """Return a dozen draws of a likelihood."""
    with torch.no_grad():
        return likelihood(2, (columns,), small)(torch.randn(12, 2)).sample().float()


def with_part(name: str) -> VAE:
    kinds = {"prior": PRIORS, "guide": GUIDES, "likelihood": LIKELIHOODS}
    return make((4,), 2, **{kind: parts[name] for kind, parts in kinds.items() if name in parts})


def table() -> tuple[VAE, Tensor]:
    """Return a VAE of columns of all kinds, some cells of which are missing, and its data."""
    whole = partial(likelihoods.Heterogeneous, columns=COLUMNS)
    x = data_for(whole, len(COLUMNS))
    x[torch.rand_like(x) < 0.3] = torch.nan
    vae = VAE(
        (len(COLUMNS),),
        2,
        likelihood=partial(likelihoods.Missing, likelihood=whole),
        encoder=partial(networks.MaskedInput, network=small),
        decoder=small,
    )
    return vae, x
