"""VAE-GANs: the likelihood of a VAE in the features of a discriminator."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pyro_vae.errors import at_least_1
from pyro_vae.inference.objectives.aae import AAE
from pyro_vae.inference.objectives.adversarial_losses import AdversarialLoss
from pyro_vae.inference.objectives.adversary import Sides, rows_of
from pyro_vae.inference.objectives.discriminator import Discriminator
from pyro_vae.inference.objectives.penalties import Penalty
from pyro_vae.inference.objectives.requirements import ProgramSites
from pyro_vae.networks import MLP, NetworkFactory, Shape
from pyro_vae.program.redrawing import redrawing
from pyro_vae.program.trace import run, sample_sites


class VAEGAN(AAE):
    """Maximise sum_n E[log Normal(h(x_n) | h(m(z_n)), 1)] - KL_n - weight (the generator's loss).

    m(z) is the mean of p(x | z), and h the features in the last hidden layer of a discriminator of data,
    reconstructions and draws of the prior. The guide has no part in the generator's loss, and the
    discriminator none in the likelihood. Not a bound: a fit reports the objective, and validates by the
    ELBO of the program as it stands.

    Source: A. B. L. Larsen, S. K. Sønderby, H. Larochelle, O. Winther, "Autoencoding beyond pixels using a
    learned similarity metric", 2015, https://arxiv.org/abs/1512.09300 (weight is their 1 / gamma).

    Args:
        weight: of the generator's loss.
        loss: of both sides; by default NonSaturating().
        penalty: on the discriminator's slope; by default none.
        discriminator: makes the network of the features from the data's shape and that of the features.
        num_features: of the last hidden layer.
        num_classes: how many labels there are, where the program takes labels.
        discriminator_steps: how many steps the discriminator takes for one of the program.
        discriminator_options: of the optimizer, for the discriminator alone, such as {"lr": 4e-4}.
    """

    def __init__(
        self,
        weight: float = 1.0,
        loss: AdversarialLoss | None = None,
        penalty: Penalty | None = None,
        discriminator: NetworkFactory = MLP,
        num_features: int = 64,
        num_classes: int | None = None,
        discriminator_steps: int = 1,
        discriminator_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.num_features = at_least_1("num_features", num_features)
        super().__init__(
            weight, loss, penalty, discriminator, discriminator_steps, discriminator_options
        )
        self.num_classes = None if num_classes is None else at_least_1("num_classes", num_classes)

    def check(self, sites: ProgramSites) -> None:
        super().check(sites)
        sites.require_drawn_data(type(self).__name__, by_mean=True)

    def reads_conditions(self) -> bool:
        return True

    def shapes(self, sites: ProgramSites) -> Sequence[torch.Size]:
        return self.observed_shapes(sites)

    def make(self, shapes: Sequence[torch.Size], condition_dim: int) -> nn.Module:
        network = partial(_with_features, self.make_discriminator, self.num_features)
        return Discriminator(network, shapes, condition_dim)

    def sides(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Sides:
        draws = self.guide_draws(model, guide, args, kwargs)
        observed: dict[str, Any] = {}
        drawn = sample_sites(run("model", redrawing(model, observed), args, kwargs))
        held = sample_sites(draws.copies.models[0])  # no gradient reaches the guide through these
        means, dim = self._means, draws.structure.dim
        sites = sample_sites(draws.models[0])
        x = [rows_of(sites[n], sites[n]["value"], dim) for n in self.observed]
        made = [torch.cat(pair) for pair in zip(means(held, dim), means(drawn, dim), strict=True)]
        real = [torch.cat([v, v]).to(m) for v, m in zip(x, made, strict=True)]
        condition = self.condition(args, list(observed.values()))
        twice = None if condition is None else torch.cat([condition, condition])
        near = self._features(means(sites, dim)), self._features([v.to(made[0]) for v in x])
        squares = (near[0] - near[1]).square().sum(-1)
        likelihood = -0.5 * squares - self.num_features * math.log(2 * math.pi) / 2
        reward = likelihood - draws.log_probs.rate[0]
        return Sides(real, made, draws.scale, twice, reward, times=2)

    def _means(self, sites: Mapping[str, Any], dim: int) -> list[Tensor]:
        """Return the means of the data that sites model, with a row for each unit."""
        found = []
        for name in self.observed:
            site = sites[name]
            found.append(rows_of(site, site["fn"].mean.expand(site["value"].shape), dim))
        return found

    def _features(self, rows: Sequence[Tensor]) -> Tensor:
        """Return the features of rows, (U, F), with the discriminator held."""
        network: nn.Module = self.discriminator.network[0]  # type: ignore[index, assignment]
        held = {name: p.detach() for name, p in network.named_parameters()}
        joined = self.discriminator.joined(rows)  # type: ignore[operator]
        features: Tensor = functional_call(network, held, (joined,))
        return features


def _with_features(
    make: NetworkFactory, num_features: int, in_shape: Shape, out_shape: Shape
) -> nn.Module:
    """Return a network whose first part gives features, and whose second one a line in these."""
    (num_logits,) = out_shape
    return nn.Sequential(
        make(in_shape, (num_features,)), nn.SiLU(), nn.Linear(num_features, num_logits)
    )
