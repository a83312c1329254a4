"""Priors with several modes; which component a z is from is summed out."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.distributions import NormalMixture, mixture
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.guides import AmortizedGuide
from pyro_vae.priors.prior import Prior
from pyro_vae.units import Units


class GaussianMixture(Prior):
    """p(z) = sum_k w_k prod_d Normal(z_d | loc_kd, scale_kd), all learned.

    Source: N. Dilokthanakul et al., "Deep unsupervised clustering with Gaussian mixture variational
    autoencoders", 2016, https://arxiv.org/abs/1611.02648.

    Args:
        latent_dim: size Z of z.
        guide: not used.
        num_components: K.

    :raises InputError: ``num_components`` is less than 1.

    >>> GaussianMixture(3, num_components=5)().component_distribution.batch_shape
    torch.Size([5])
    """

    def __init__(
        self, latent_dim: int, guide: AmortizedGuide | None = None, num_components: int = 10
    ) -> None:
        super().__init__(latent_dim, guide)
        at_least_1("num_components", num_components)
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(torch.randn(num_components, latent_dim))  # else they stay the same
        self.log_scale = nn.Parameter(torch.zeros(num_components, latent_dim))

    def forward(self) -> dist.TorchDistribution:
        return NormalMixture(self.logits, self.loc, self.log_scale.exp())


class VampPrior(Prior):
    """p(z) = 1/K sum_k q(z | u_k): the mean of what the guide makes of K learned pseudo-inputs u.

    The guide belongs to the model; the prior reads it, and holds the pseudo-inputs alone: their own units
    times what is learned. A first fit starts them from its rows (:meth:`start_from`).

    Source: J. M. Tomczak, M. Welling, "VAE with a VampPrior", 2017, https://arxiv.org/abs/1705.07120.

    Args:
        latent_dim: size Z of z.
        guide: q(z | x).
        num_components: K. Until rows have been seen they are values drawn evenly from [0, 1].

    :raises InputError: there is no guide, one that reads names, which no gradient moves, or
        ``num_components`` is less than 1.

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
        if guide is None:
            raise InputError(
                "VampPrior is made of the guide's densities and needs the guide, which a model of several "
                "layers has none of that fits: take another prior there, such as GaussianMixture"
            )
        for part in guide.modules():
            if getattr(part, "reads_names", False):
                raise InputError(
                    f"VampPrior learns inputs of the guide by gradient, and {type(part).__name__}, which "
                    "reads names by number, lets none through: take another prior, such as GaussianMixture"
                )
        self.scaled_inputs = nn.Parameter(torch.rand(num_components, *guide.data_shape))
        self.units = Units(guide.data_shape)
        self.register_buffer("uniform", torch.zeros(num_components), persistent=False)
        self._guide = (guide,)  # in a tuple, so that its parameters stay the model's alone

    @property
    def guide(self) -> AmortizedGuide:
        """q(z | x), which belongs to the model."""
        return self._guide[0]

    @property
    def pseudo_inputs(self) -> Tensor:
        """u, ``K | X``."""
        return self.units.location + self.units.scale * self.scaled_inputs

    @torch.no_grad()
    def start_from(self, data: Tensor) -> None:
        """Sets the pseudo-inputs to rows of what the guide reads, ``rows | X``, taken at random.

        Those are the data, or what a model makes of them, as ConditionalVAE does of x and y. Their units
        are learnt from the same.

        :raises InputError: there are fewer rows than components, or they are of another shape.
        """
        shape = self.scaled_inputs.shape
        if data.shape[1:] != shape[1:] or len(data) < shape[0]:
            raise InputError(
                f"VampPrior starts {shape[0]} pseudo-inputs from as many rows of shape "
                f"{tuple(shape[1:])} at least, not from data of shape {tuple(data.shape)}"
            )
        self.units.learn(data)
        some = data[torch.randperm(len(data), device=data.device)[: shape[0]]]
        self.scaled_inputs.copy_((some - self.units.location) / self.units.scale)

    def forward(self) -> dist.TorchDistribution:
        components = self.guide(self.pseudo_inputs)  # (K | Z)
        return mixture(self.uniform, components)
