"""Checks that the parts of a model fit together, made when the model is built."""

from typing import Any

from pyro_vae import guides
from pyro_vae.errors import InputError
from pyro_vae.guides import AmortizedGuide
from pyro_vae.likelihoods import Likelihood, Missing
from pyro_vae.networks import Network, Scaled
from pyro_vae.parts import is_choice
from pyro_vae.priors import Prior


def check_same_latent(prior: Prior, guide: AmortizedGuide) -> None:
    """Check that prior and guide have the same latent dimension and support."""
    if (prior.latent_dim, prior.support) != (guide.latent_dim, guide.support):
        fitting = ", ".join(_guides_with(prior.support))
        raise InputError(
            f"{type(prior).__name__} draws z with {prior.latent_dim} dimensions ({prior.support}), "
            f"{type(guide).__name__} with {guide.latent_dim} ({guide.support})",
            subject=type(guide).__name__,
            expected=f"a guide with {prior.latent_dim} dimensions, such as {fitting}",
        )


def _guides_with(support: Any) -> list[str]:
    """Return the names of the amortised guides whose latent vector has a support."""
    exported = (getattr(guides, name) for name in guides.__all__)
    classes = [kind for kind in exported if isinstance(kind, type) and is_choice(kind)]
    amortized = [kind for kind in classes if issubclass(kind, AmortizedGuide)]
    return [guide.__name__ for guide in amortized if guide.support is support]


def check_reads_missing(likelihood: Likelihood, network: Network, part: str = "encoder") -> None:
    """Check that a network skips missing values if the likelihood does.

    Args:
        likelihood: the model's likelihood.
        network: a network that reads the data.
        part: the name of the network in the model.

    Raises:
        InputError: the network requires all values.
    """
    if isinstance(likelihood, Missing) and not getattr(network, "takes_missing", False):
        name = type(network.network if isinstance(network, Scaled) else network).__name__
        raise InputError(
            f"the likelihood skips missing values, and the {part} {name} cannot",
            subject=part,
            remedy=f"make it partial(MaskedInput, network={name}), or --model.{part} MaskedInput",
        )
