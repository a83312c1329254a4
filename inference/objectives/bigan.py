"""Bidirectional GANs: a discriminator of pairs trains model and guide alike."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from pyro_vae.inference.objectives.adversarial import Adversarial
from pyro_vae.inference.objectives.adversary import Sides
from pyro_vae.inference.objectives.requirements import ProgramSites
from pyro_vae.program.trace import run, sample_sites


class BiGAN(Adversarial):
    """Play model and guide against a discriminator of pairs: (x_n, z ~ q(z | x_n)) and (x', z') ~ p(x, z).

    Both are to give pairs that cannot be told apart, and where they do, the guide is the posterior. Neither
    scores anything: the guide may lack a density. Also known as ALI. Not a bound.

    Source: J. Donahue, P. Krähenbühl, T. Darrell, "Adversarial feature learning", 2016,
    https://arxiv.org/abs/1605.09782; V. Dumoulin et al., "Adversarially learned inference", 2016,
    https://arxiv.org/abs/1606.00704.

    The arguments are those of :class:`Adversarial`; the discriminator's network is made from the shape of x
    and z, joined to a vector.
    """

    needs_guide = True
    validates = True
    is_mutual = True

    def check(self, sites: ProgramSites) -> None:
        name = type(self).__name__
        sites.require_one_vector(name)
        sites.require_reparameterised(name)
        super().check(sites)

    def shapes(self, sites: ProgramSites) -> Sequence[torch.Size]:
        ((self.latent, site),) = sites.guide.items()
        return [*super().shapes(sites), site["fn"].event_shape]

    def sides(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Sides:
        of_model, sites = self.of_model(model, guide, args, kwargs)
        z = sample_sites(run("guide", guide, args, kwargs))[self.latent]["value"]
        real, made = [*of_model.real, z], [*of_model.made, sites[self.latent]["value"]]
        return replace(of_model, real=real, made=made)
