"""Adversarial variational Bayes: the ELBO of a guide that has no density."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from pyro_vae.errors import at_least_1
from pyro_vae.inference.objectives.aae import AAE
from pyro_vae.inference.objectives.adversarial_losses import LogRatio
from pyro_vae.inference.objectives.adversary import Sides, rows_of
from pyro_vae.inference.objectives.penalties import Penalty
from pyro_vae.inference.objectives.requirements import ProgramSites
from pyro_vae.networks import MLP, NetworkFactory
from pyro_vae.program.trace import sample_sites


class AVB(AAE):
    """Maximise sum_n E[log p(x_n | z_n) + d(x_n, z_n)], where d estimates log p(z) / q(z | x).

    The guide may be any function of data and noise (``guides.Implicit``): a discriminator learns the
    log-ratio from pairs of datum and latent, of the prior and of the guide. With the best one this is the
    ELBO, and where d lags behind, it is neither that nor a bound: a fit reports the objective. The
    discriminator reads the arguments that the model does not observe, too.

    Source: L. Mescheder, S. Nowozin, A. Geiger, "Adversarial variational Bayes: unifying variational
    autoencoders and generative adversarial networks", 2017, https://arxiv.org/abs/1701.04722.

    Args:
        penalty: on the discriminator's slope; by default none.
        discriminator: makes its network from the shape of x and z, joined to a vector, and (1,).
        num_classes: how many labels there are, where the program takes labels.
        discriminator_steps: how many steps the discriminator takes for one of the program.
        discriminator_options: of the optimizer, for the discriminator alone, such as {"lr": 4e-4}.
    """

    def __init__(
        self,
        penalty: Penalty | None = None,
        discriminator: NetworkFactory = MLP,
        num_classes: int | None = None,
        discriminator_steps: int = 1,
        discriminator_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            1.0, LogRatio(), penalty, discriminator, discriminator_steps, discriminator_options
        )
        self.num_classes = None if num_classes is None else at_least_1("num_classes", num_classes)

    def reads_conditions(self) -> bool:
        return True

    def shapes(self, sites: ProgramSites) -> Sequence[torch.Size]:
        return [*self.observed_shapes(sites), *super().shapes(sites)]

    def sides(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Sides:
        draws = self.guide_draws(model, guide, args, kwargs)
        latents = self.of_latents(draws)
        sites, dim = sample_sites(draws.models[0]), draws.structure.dim
        values = [sites[name]["value"] for name in self.observed]
        x = [
            rows_of(sites[n], v, dim).to(latents.made[0])
            for n, v in zip(self.observed, values, strict=True)
        ]
        return replace(
            latents,
            real=[*x, *latents.real],
            made=[*x, *latents.made],
            condition=self.condition(args, values),
        )
