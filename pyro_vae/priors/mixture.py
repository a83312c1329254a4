"""Priors with several modes; the component of a z is summed out."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.distributions import NormalMixture, mixture
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.guides import AmortizedGuide
from pyro_vae.priors.prior import Prior
from pyro_vae.scaling import Scaling


class GaussianMixture(Prior):
    """Draw z from a learned mixture: p(z) = sum_k w_k prod_d Normal(z_d | loc_kd, scale_kd).

    Args:
        latent_dim: size Z of z.
        guide: not used.
        num_components: K.

    Raises:
        InputError: ``num_components`` is less than 1.

    Source: N. Dilokthanakul et al., "Deep unsupervised clustering with Gaussian mixture variational
    autoencoders", 2016, https://arxiv.org/abs/1611.02648.

    >>> GaussianMixture(3, num_components=5)().component_distribution.batch_shape
    torch.Size([5])
    """

    def __init__(
        self, latent_dim: int, guide: AmortizedGuide | None = None, num_components: int = 10
    ) -> None:
        super().__init__(latent_dim, guide)
        at_least_1("num_components", num_components)
        self.logits = nn.Parameter(torch.zeros(num_components))
        # at random, because components that start alike stay alike
        self.loc = nn.Parameter(torch.randn(num_components, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(num_components, latent_dim))

    def forward(self) -> dist.TorchDistribution:
        return NormalMixture(self.logits, self.loc, self.log_scale.exp())


class VampPrior(Prior):
    """Draw z from the guide at K learned pseudo-inputs u: p(z) = 1/K sum_k q(z | u_k).

    The model owns the guide; the prior owns the pseudo-inputs, which are learned in units of the data. The
    first fit starts them from its rows (:meth:`start_from`).

    Args:
        latent_dim: size Z of z.
        guide: q(z | x).
        num_components: K. Until a fit sees rows, the pseudo-inputs are uniform draws from [0, 1].

    Raises:
        InputError: ``guide`` is None or reads categories, which have no gradient; or ``num_components`` is
            less than 1.

    Source: J. M. Tomczak, M. Welling, "VAE with a VampPrior", 2017, https://arxiv.org/abs/1705.07120.

    >>> from pyro_vae.guides import MeanFieldNormal
    >>> guide = MeanFieldNormal((6,), 3)
    >>> VampPrior(3, guide, num_components=5)().component_distribution.batch_shape
    torch.Size([5])
    """

    uniform: Tensor

    def __init__(
        self,
        latent_dim: int,
        guide: AmortizedGuide | None = None,
        num_components: int = 500,
    ) -> None:
        super().__init__(latent_dim, guide)
        at_least_1("num_components", num_components)
        guide = _differentiable(guide)
        self.scaled_inputs = nn.Parameter(torch.rand(num_components, *guide.data_shape))
        self.scaling = Scaling(guide.data_shape)
        self.register_buffer("uniform", torch.zeros(num_components), persistent=False)
        self._guide = (guide,)  # a tuple, so that the model alone owns its parameters

    @property
    def guide(self) -> AmortizedGuide:
        """q(z | x), which belongs to the model."""
        return self._guide[0]

    @property
    def pseudo_inputs(self) -> Tensor:
        """u, ``K | X``."""
        return self.scaling.location + self.scaling.scale * self.scaled_inputs

    @torch.no_grad()
    def start_from(self, data: Tensor) -> None:
        """Set the pseudo-inputs to random rows of the guide's inputs, and learn their units from all rows.

        Args:
            data: what the guide reads, ``rows | X``: the data, or features of x and y in a ConditionalVAE.

        Raises:
            InputError: there are fewer rows than components, or they have another shape.
        """
        count, *shape = self.scaled_inputs.shape
        if list(data.shape[1:]) != shape or len(data) < count:
            raise InputError(
                f"VampPrior cannot start {count} pseudo-inputs from data of shape {tuple(data.shape)}",
                subject="VampPrior",
                expected=f"at least {count} rows of shape {tuple(shape)}",
                remedy="set num_components to at most the number of rows",
            )
        self.scaling.learn(data)
        some = data[torch.randperm(len(data), device=data.device)[:count]]
        self.scaled_inputs.copy_((some - self.scaling.location) / self.scaling.scale)

    def forward(self) -> dist.TorchDistribution:
        components = self.guide(self.pseudo_inputs)  # (K | Z)
        return mixture(self.uniform, components)


def _differentiable(guide: AmortizedGuide | None) -> AmortizedGuide:
    """Check that there is a guide and that gradients reach its inputs."""
    remedy = "take another prior, such as GaussianMixture"
    if guide is None:
        raise InputError(
            "VampPrior has no guide to evaluate: a model of several layers passes none",
            subject="VampPrior",
            expected="a guide over the same latent",
            remedy=remedy,
        )
    for part in guide.modules():
        if getattr(part, "discrete_input", False):
            raise InputError(
                f"VampPrior learns inputs of the guide by gradient, and {type(part).__name__} reads "
                "categories, which have no gradient",
                subject="VampPrior",
                remedy=remedy,
            )
    return guide
