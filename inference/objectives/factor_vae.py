"""The ELBO less the total correlation, which a discriminator estimates."""

from collections.abc import Mapping
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from pyro_vae.argument_checks import number
from pyro_vae.errors import InputError
from pyro_vae.inference.objectives.aggregate import Aggregate, latent_vector
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.objective import with_gradient_of
from pyro_vae.inference.objectives.requirements import ProgramSites
from pyro_vae.networks import MLP, NetworkFactory


class FactorVAE(Aggregate):
    """Maximise sum_n ELBO_n - gamma d(z_n), where E d = E log q(z) / prod_d q(z_d), the total correlation.

    The discriminator d(z) is the logit of z being a vector of the aggregate posterior q(z), and not one
    whose numbers come from different data. It minimises its cross-entropy, -1/2 log sigmoid(d(z)) -
    1/2 log sigmoid(-d(z')), where z are the batch's draws and z' the same with permuted dimensions; at the
    minimum d is the log-ratio. Model and guide maximise the objective with d held, and d learns with them
    held: each has its own gradient, by one backward pass, for one optimizer. At first d knows nothing, and
    the figure is about the ELBO. Not a bound: a fit reports the objective, and validates by the ELBO. Its
    checkpoints hold d, which no evidence uses.

    Model and discriminator may go in circles, where d cannot keep up with the guide: less momentum, as of
    Adam with ``betas`` of (0.5, 0.9), or a smaller gamma helps then.

    ``TCVAE`` penalises the same TC without a second network, for guides whose numbers are independent.

    Source: H. Kim, A. Mnih, "Disentangling by factorising", 2018, https://arxiv.org/abs/1802.05983 (there
    z' is of another batch than z, and d's optimizer of other options).

    Args:
        gamma: weight of the total correlation.
        discriminator: makes d's network from the shape of z and that of one number, (1,).

    Raises:
        InputError: a weight is below 0, or z is a single number.
    """

    def __init__(self, gamma: float = 10.0, discriminator: NetworkFactory = MLP) -> None:
        super().__init__()
        self.gamma = number("gamma", gamma, least=0)
        self.make_discriminator = discriminator

    def prepare(self, sites: ProgramSites) -> None:
        ((name, site),) = sites.guide.items()
        (dim,) = site["fn"].event_shape
        if dim < 2:
            raise InputError(
                f"FactorVAE makes a vector's numbers independent, and site {name!r} has only one",
                subject=name,
                remedy="use TraceELBO",
            )
        self.discriminator: nn.Module = self.make_discriminator((dim,), (1,)).to(site["value"])
        self.is_registered = False

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        return {} if self.plan is None else {"discriminator": self.discriminator}

    def draw(self, model: Any, guide: Any, args: Any, kwargs: Any) -> GuideDraws:
        is_first = self.plan is None  # :attr:`modules` was empty so far
        draws = super().draw(model, guide, args, kwargs)
        self.is_registered |= is_first
        if self.is_registered:  # Pyro's own SVI trains what it finds in its store
            pyro.module("discriminator", self.discriminator, update_module_params=True)
        return draws

    def value(self, draws: GuideDraws) -> Tensor:
        held = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        z = latent_vector(draws)[0]["value"]
        log_ratio = functional_call(self.discriminator, held, (z,)).squeeze(-1)
        return draws.scale * (draws.log_probs.log_weights[0] - self.gamma * log_ratio).sum()

    def surrogate(self, draws: GuideDraws) -> Tensor:
        value, z = self.value(draws), latent_vector(draws)[0]["value"].detach()
        joint, permuted = self.discriminator(torch.stack([z, permute_dims(z)])).squeeze(-1)
        cross_entropy = (softplus(-joint) + softplus(permuted)).sum() / 2
        return with_gradient_of(value, value - draws.scale * cross_entropy)


def permute_dims(vectors: Tensor) -> Tensor:
    """Return vectors (U, Z) as if of the product of their marginals: each takes numbers from other vectors.

    No two numbers come from the same vector, where there are enough; every number is used once.

    >>> permute_dims(torch.arange(3.0).unsqueeze(1).expand(3, 3)).sort(1).values
    tensor([[0., 1., 2.],
            [0., 1., 2.],
            [0., 1., 2.]])
    """
    count, dim = vectors.shape
    order = torch.randperm(count, device=vectors.device)
    steps = torch.arange(count, device=vectors.device).unsqueeze(1)
    rows = order[(steps + torch.arange(dim, device=vectors.device)) % count]  # (U, Z)
    return vectors.gather(0, rows)
