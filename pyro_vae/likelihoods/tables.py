"""Likelihoods of tables: columns of different kinds, cells that are missing."""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import pyro.distributions as dist
from torch import Tensor, nn

from pyro_vae import distributions
from pyro_vae.errors import InputError
from pyro_vae.likelihoods.likelihood import Likelihood, LikelihoodFactory, Outputs
from pyro_vae.likelihoods.real import Normal
from pyro_vae.networks import MLP, Network, NetworkFactory, Scaled, Shape
from pyro_vae.units import parts_to_learn


class Heterogeneous(Likelihood):
    """p(x | z) = prod_j p_j(x_j | z): each column of a table has a likelihood of its own, all one decoder.

    Columns that are given the same likelihood, with the same options, share its parameters. The encoder
    reads counts and positive values as logs, names as one number each, all in the table's own units.

    Source: A. Nazábal, P. M. Olmos, Z. Ghahramani, I. Valera, "Handling incomplete heterogeneous data
    using VAEs", 2018, https://arxiv.org/abs/1807.03653.

    Args:
        latent_dim: size of z.
        data_shape: (columns,).
        decoder: makes the network from the two shapes.
        columns: what makes each column's likelihood.

    :raises InputError: there are not as many likelihoods as columns, or one is none of single values.

    >>> from functools import partial
    >>> from pyro_vae.likelihoods import Bernoulli, HeteroscedasticNormal, LogNormal, Poisson, Tokens
    >>> columns = [HeteroscedasticNormal, LogNormal, Poisson, Bernoulli, partial(Tokens, num_tokens=4)]
    >>> Heterogeneous(2, (5,), columns=columns)(torch.zeros(7, 2)).event_shape
    torch.Size([5])
    """

    no_part = "it is that of a whole table"

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        columns: Sequence[LikelihoodFactory] = (),
    ) -> None:
        nn.Module.__init__(self)
        if tuple(data_shape) != (len(columns),):
            raise InputError(
                f"Heterogeneous has likelihoods for {len(columns)} columns, and the data are of shape "
                f"{tuple(data_shape)}: name one for each column of a table"
            )
        self.event_dim = 1
        kinds: list[LikelihoodFactory] = []
        self.places: list[list[int]] = []
        for place, column in enumerate(columns):
            same = next((j for j, kind in enumerate(kinds) if _are_same(kind, column)), len(kinds))
            if same == len(kinds):
                kinds.append(column)
                self.places.append([])
            self.places[same].append(place)
        made = [
            Likelihood.make(kind, latent_dim, (len(places),), Outputs)
            for kind, places in zip(kinds, self.places, strict=True)
        ]
        for part in made:
            self.check_part(part)
        self.kinds: Iterable[Likelihood] = nn.ModuleList(made)  # type: ignore[assignment]
        self.sizes = [math.prod(kind.decoder.out_shape) for kind in made]
        self.decoder = Network.make(decoder, (latent_dim,), (sum(self.sizes),))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return self.of_values(self.decoder(z)).to_event(1)

    def reading(self, encoder: NetworkFactory) -> NetworkFactory:
        logs = [False] * sum(map(len, self.places))
        names = [0] * len(logs)
        for kind, places in zip(self.kinds, self.places, strict=True):
            for place in places:
                logs[place], names[place] = bool(kind.in_logs), kind.num_names
        return partial(Scaled, network=encoder, logs=logs, names=names)

    def learn_units(self, x: Tensor) -> None:
        for kind, places in zip(self.kinds, self.places, strict=True):
            for part in parts_to_learn(kind):
                part.learn_units(x[..., places])

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        parts = [
            kind.of_values(numbers.unflatten(-1, (kind.numbers_per_value, -1)))
            for kind, numbers in zip(self.kinds, outputs.split(self.sizes, -1), strict=True)
        ]
        return distributions.Columns(parts, self.places)


def _are_same(one: Any, other: Any) -> bool:
    """Whether two factories make the same: they are one, or partials of one with the same options."""
    if not (isinstance(one, partial) and isinstance(other, partial)):
        return one is other
    return (one.func, one.args, one.keywords) == (other.func, other.args, other.keywords)


class Missing(Likelihood):
    """p(x_observed | z): any likelihood of independent values, with NaN for a value that is missing.

    A missing value says nothing and takes no gradient. The encoder meets the NaN as well:
    :class:`pyro_vae.networks.MaskedInput` makes one that does out of any other.

    Source: P.-A. Mattei, J. Frellsen, "MIWAE: deep generative modelling and imputation of incomplete data
    sets", 2018, https://arxiv.org/abs/1812.02633.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from the two shapes.
        likelihood: p(x | z) where all is observed.

    :raises InputError: the values are not independent.

    >>> x = torch.tensor([[1.0, float("nan"), 2.0]])
    >>> Missing(2, (3,))(torch.zeros(1, 2)).base_dist.log_prob(x)[0, 1].item()
    0.0
    """

    no_part = "it stands around a whole, as in partial(Missing, likelihood=Bernoulli)"

    def __init__(
        self,
        latent_dim: int,
        data_shape: Shape,
        decoder: NetworkFactory = MLP,
        likelihood: LikelihoodFactory = Normal,
    ) -> None:
        nn.Module.__init__(self)
        self.event_dim = len(data_shape)
        self.complete = Likelihood.make(likelihood, latent_dim, data_shape, decoder)
        if not isinstance(self.complete, Heterogeneous):
            self.check_part(self.complete)

    def reading(self, encoder: NetworkFactory) -> NetworkFactory:
        return self.complete.reading(encoder)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return self.of_values(self.complete.decoder(z)).to_event(self.event_dim)

    def of_values(self, outputs: Tensor) -> dist.TorchDistribution:
        return distributions.WithMissing(self.complete.of_values(outputs))
