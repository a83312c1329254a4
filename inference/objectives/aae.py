"""Adversarial autoencoders: an adversary pulls the aggregate posterior to the prior."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pyro_vae.argument_checks import number
from pyro_vae.inference.objectives.adversarial_losses import AdversarialLoss
from pyro_vae.inference.objectives.adversary import Adversary, Sides
from pyro_vae.inference.objectives.aggregate import latent_vector
from pyro_vae.inference.objectives.guide_draws import GuideDraws
from pyro_vae.inference.objectives.objective import Objective
from pyro_vae.inference.objectives.penalties import Penalty
from pyro_vae.inference.objectives.requirements import ProgramSites
from pyro_vae.networks import MLP, NetworkFactory


class AAE(Adversary):
    """Maximise sum_n E[log p(x_n | z_n)] - weight (the loss of z_n as a draw of the prior).

    A discriminator tells the prior's draws from the guides', of the aggregate posterior q(z). No guide has
    to be close to the prior alone, so one may have no spread, or no density at all. With ``LogRatio`` the
    second term is KL(q(z), p(z)). Not a bound: a fit reports the objective, and validates by the ELBO.

    Source: A. Makhzani, J. Shlens, N. Jaitly, I. Goodfellow, B. Frey, "Adversarial autoencoders", 2015,
    https://arxiv.org/abs/1511.05644 (there in turns, each with an optimizer of its own).

    Args:
        weight: of the guide's loss.
        loss: of both sides; by default NonSaturating().
        penalty: on the discriminator's slope; by default none.
        discriminator: makes its network from the shape of z and that of its logit, (1,).
        discriminator_steps: how many steps the discriminator takes for one of the program.
        discriminator_options: of the optimizer, for the discriminator alone, such as {"lr": 4e-4}.
    """

    separates_prior = True

    def __init__(
        self,
        weight: float = 1.0,
        loss: AdversarialLoss | None = None,
        penalty: Penalty | None = None,
        discriminator: NetworkFactory = MLP,
        discriminator_steps: int = 1,
        discriminator_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.weight = number("weight", weight, least=0)
        super().__init__(
            loss, penalty, discriminator, None, discriminator_steps, discriminator_options
        )

    def check(self, sites: ProgramSites) -> None:
        sites.require_one_vector(type(self).__name__)
        super().check(sites)
        sites.require_prior_draws(type(self).__name__)

    def reads_conditions(self) -> bool:
        return False

    def shapes(self, sites: ProgramSites) -> Sequence[torch.Size]:
        return [site["fn"].event_shape for site in sites.model.values()]

    def guide_draws(self, model: Any, guide: Any, args: Any, kwargs: Any) -> GuideDraws:
        """Return a draw of the guide for each unit."""
        return Objective.draw(self, model, guide, args, kwargs)

    def sides(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Sides:
        return self.of_latents(self.guide_draws(model, guide, args, kwargs))

    def of_latents(self, draws: GuideDraws) -> Sides:
        """Return a draw of the prior and one of the guide for each unit, and what it gets in likelihood."""
        of_guide, of_model = latent_vector(draws)
        z = of_guide["value"]
        prior = of_model["fn"]().detach().expand_as(z)
        return Sides([prior], [z], draws.scale, None, draws.log_probs.log_likelihood[0])
