"""Whether the parts of a model fit one another: said when it is built, in words."""

from pyro_vae.errors import InputError
from pyro_vae.guides import AmortizedGuide
from pyro_vae.likelihoods import Likelihood, Missing
from pyro_vae.networks import Network, Scaled
from pyro_vae.priors import Prior


def check_same_latent(prior: Prior, guide: AmortizedGuide) -> None:
    """:raises InputError: prior and guide do not put z in the same place."""
    if (prior.latent_dim, prior.support) != (guide.latent_dim, guide.support):
        raise InputError(
            f"{type(prior).__name__} has {prior.latent_dim} latent numbers ({prior.support}) and "
            f"{type(guide).__name__} {guide.latent_dim} ({guide.support}): prior and guide must put z "
            "in the same place"
        )


def check_reads_missing(likelihood: Likelihood, network: Network, part: str = "encoder") -> None:
    """:raises InputError: values may be missing that the encoder, or another part, cannot do without."""
    if isinstance(likelihood, Missing) and not getattr(network, "takes_missing", False):
        name = type(network.network if isinstance(network, Scaled) else network).__name__
        raise InputError(
            f"the likelihood leaves out values that are missing, and the {part} {name} cannot: make it "
            f"partial(MaskedInput, network={name}), or --model.{part} MaskedInput"
        )
