"""The objective of a GAN, for any model that can draw its data."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import InputError, true_or_false
from pyro_vae.inference.objectives.adversarial_losses import AdversarialLoss
from pyro_vae.inference.objectives.adversarial_notes import coverage
from pyro_vae.inference.objectives.adversary import Adversary, Sides, rows_of
from pyro_vae.inference.objectives.discriminator import side_by_side
from pyro_vae.inference.objectives.penalties import Penalty
from pyro_vae.inference.objectives.requirements import ProgramSites
from pyro_vae.networks import MLP, NetworkFactory
from pyro_vae.program.contract import Program
from pyro_vae.program.redrawing import redrawing
from pyro_vae.program.trace import Site, run, sample_sites
from pyro_vae.program.wrappers import innermost


class Adversarial(Adversary):
    """Play the model against a discriminator: draws x' of p(x) are to look like the data.

    The story stays: z from the prior, x given z. No guide takes part, and a program may lack one; its
    evidence is that of annealing from the prior. Each unit has one draw, under its own conditions: the
    arguments that the model does not observe. The discriminator reads these, too. Not a bound: a fit
    reports minus the generator's loss, both sides' losses, the norm of the model's gradient, how often the
    discriminator tells a pair apart, and near how many of the data the draws come. None of them says how
    good the model is.

    Source: I. Goodfellow et al., "Generative adversarial nets", 2014, https://arxiv.org/abs/1406.2661.

    Args:
        loss: of both sides; by default NonSaturating().
        penalty: on the discriminator's slope; by default none.
        discriminator: makes its network from the shape of what the model observes and that of its logits;
            several observed sites are joined to a vector.
        num_classes: how many labels there are, where the program takes labels.
        discriminator_steps: how many steps the discriminator takes for one of the program.
        discriminator_options: of the optimizer, for the discriminator alone, such as {"lr": 4e-4}.
        with_noise: whether draws have the likelihood's noise, or are the means of p(x | z).

    Raises:
        InputError: when it is used: the model cannot draw its data with gradients.

    >>> from pyro_vae import fit
    >>> from pyro_vae.models import GAN
    >>> torch.manual_seed(0).seed() and None
    >>> result = fit(GAN((2,), 2), torch.randn(256, 2), elbo=Adversarial(), epochs=2, progress=False)
    >>> sorted(result.metrics[0])[1:5]
    ['coverage', 'discriminator_loss', 'epoch', 'generator_gradient']
    """

    needs_guide = False
    validates = False

    def __init__(
        self,
        loss: AdversarialLoss | None = None,
        penalty: Penalty | None = None,
        discriminator: NetworkFactory = MLP,
        num_classes: int | None = None,
        discriminator_steps: int = 1,
        discriminator_options: Mapping[str, Any] | None = None,
        with_noise: bool = True,
    ) -> None:
        super().__init__(
            loss, penalty, discriminator, num_classes, discriminator_steps, discriminator_options
        )
        self.with_noise = true_or_false("with_noise", with_noise)

    def check(self, sites: ProgramSites) -> None:
        sites.require_drawn_data(type(self).__name__, by_mean=not self.with_noise)

    def shapes(self, sites: ProgramSites) -> Sequence[torch.Size]:
        return self.observed_shapes(sites)

    def sides(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Sides:
        return self.of_model(model, guide, args, kwargs)[0]

    def of_model(
        self, model: Any, guide: Any, args: Any, kwargs: Any
    ) -> tuple[Sides, dict[str, Site]]:
        """Return the data beside draws of the model, and the sites of the run that drew them."""
        plan = self.plan_for(model, guide, args, kwargs)
        observed: dict[str, Tensor] = {}
        sites = sample_sites(run("model", redrawing(model, observed), args, kwargs))
        _check_gradients({n: site for n, site in sites.items() if n not in observed})
        structure, made, real = plan.structure, [], []
        for name in self.observed:
            site = sites[name]
            draw = rows_of(site, self.drawn(site), structure.dim)
            made.append(draw)
            value = torch.as_tensor(observed[name]).to(draw).expand(site["value"].shape)
            real.append(rows_of(site, value, structure.dim))
        frames = sites[self.observed[0]]["cond_indep_stack"]
        unit = next(frame for frame in frames if frame.name == structure.unit)
        condition = self.condition(args, list(observed.values()))
        return Sides(real, made, (unit.full_size or unit.size) / unit.size, condition), sites

    def drawn(self, site: Site) -> Tensor:
        """Return what the model made of an observed site."""
        value: Tensor = site["value"]
        return value if self.with_noise else site["fn"].mean.expand(value.shape)

    def report(self, program: Program, batch: tuple[Any, ...]) -> dict[str, float]:
        figures = super().report(program, batch)
        with torch.no_grad():
            sides, _ = self.of_model(program.model, program.guide, batch, {})
            pair = (side_by_side(rows) for rows in (sides.real, sides.made))
            return figures | {"coverage": coverage(*pair)}


def _check_gradients(latents: Mapping[str, Site]) -> None:
    """Check that no latent is drawn from a trained distribution by a path without gradients."""
    for name, site in latents.items():
        fn = innermost(site["fn"])
        trained = (x.requires_grad for x in vars(fn).values() if isinstance(x, Tensor))
        if not site["fn"].has_rsample and any(trained):
            raise InputError(
                f"Adversarial needs gradients through the draws, and latent {name!r} "
                f"({type(fn).__name__}), whose parameters are trained, has none",
                subject=name,
                remedy="give it fixed parameters, or draw it from a reparameterised distribution",
            )
