"""Likelihoods of tables: columns of different kinds, missing cells."""

import math
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae import distributions
from pyro_vae.errors import InputError
from pyro_vae.likelihoods.likelihood import Likelihood, LikelihoodFactory, PlaceholderDecoder
from pyro_vae.likelihoods.real import Normal
from pyro_vae.networks import MLP, Network, NetworkFactory, Scaled, Shape
from pyro_vae.scaling import parts_to_learn


class Heterogeneous(Likelihood):
    """Model the columns of a table, each by its own likelihood: p(x | z) = prod_j p_j(x_j | z).

    All columns share one decoder. Columns with the same likelihood and options also share its parameters.
    The encoder reads counts and positive values as logs, categories as one-hot vectors, and all columns in
    units of the data.

    Args:
        latent_dim: size of z.
        data_shape: (columns,).
        decoder: makes the network from an input and an output shape.
        columns: makes the likelihood of each column.

    Raises:
        InputError: there are not as many likelihoods as columns, or the values of one are not independent.

    Source: A. Nazábal, P. M. Olmos, Z. Ghahramani, I. Valera, "Handling incomplete heterogeneous data using
    VAEs", 2018, https://arxiv.org/abs/1807.03653.

    >>> from functools import partial
    >>> from pyro_vae.likelihoods import Bernoulli, HeteroscedasticNormal, LogNormal, Poisson, Tokens
    >>> columns = [HeteroscedasticNormal, LogNormal, Poisson, Bernoulli, partial(Tokens, num_tokens=4)]
    >>> Heterogeneous(2, (5,), columns=columns)(torch.zeros(7, 2)).event_shape
    torch.Size([5])
    """

    not_a_part = "it models a whole table"
    order: Tensor  # the columns' numbers, one likelihood's after another's

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
                f"Heterogeneous has likelihoods for {len(columns)} columns, but the data have shape "
                f"{tuple(data_shape)}",
                subject="columns",
                expected="one likelihood for each column of a table",
            )
        self.event_dim = 1
        factories, self.places = _group(columns)
        order = torch.tensor([place for places in self.places for place in places])
        self.register_buffer("order", order, persistent=False)
        kinds = [
            Likelihood.make(factory, latent_dim, (len(places),), PlaceholderDecoder)
            for factory, places in zip(factories, self.places, strict=True)
        ]
        for kind in kinds:
            self.check_part(kind)
        self.kinds: Iterable[Likelihood] = nn.ModuleList(kinds)  # type: ignore[assignment]
        self.sizes = [math.prod(kind.decoder.out_shape) for kind in kinds]
        self.decoder = Network.make(decoder, (latent_dim,), (sum(self.sizes),))

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return self.from_parameters(self.decoder(z)).to_event(1)

    def wrap_encoder(self, encoder: NetworkFactory) -> NetworkFactory:
        logs = [False] * sum(map(len, self.places))
        ranks, num_categories = [False] * len(logs), [0] * len(logs)
        for kind, places in zip(self.kinds, self.places, strict=True):
            for place in places:
                logs[place] = kind.encoder_scaling == "log"
                ranks[place] = kind.encoder_scaling == "ranks"
                num_categories[place] = kind.num_categories
        return partial(
            Scaled, network=encoder, logs=logs, ranks=ranks, num_categories=num_categories
        )

    def learn_scaling(self, x: Tensor) -> None:
        for kind, places in zip(self.kinds, self.places, strict=True):
            for part in parts_to_learn(kind):
                part.learn_scaling(x[..., places])

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        parts = [
            kind.from_parameters(own.unflatten(-1, (kind.parameters_per_value, -1)))
            for kind, own in zip(self.kinds, parameters.split(self.sizes, -1), strict=True)
        ]
        return distributions.Columns(parts, self.order)


def _group(
    columns: Sequence[LikelihoodFactory],
) -> tuple[list[LikelihoodFactory], list[list[int]]]:
    """Return the different factories, and the numbers of the columns that each one makes."""
    factories: list[LikelihoodFactory] = []
    places: list[list[int]] = []
    for place, column in enumerate(columns):
        same = next((i for i, f in enumerate(factories) if _are_equal(f, column)), len(factories))
        if same == len(factories):
            factories.append(column)
            places.append([])
        places[same].append(place)
    return factories, places


def _are_equal(one: Any, other: Any) -> bool:
    """Return whether two factories are one, or partials of one with the same options."""
    if not (isinstance(one, partial) and isinstance(other, partial)):
        return one is other
    return (one.func, one.args, one.keywords) == (other.func, other.args, other.keywords)


class Missing(Likelihood):
    """Model the observed values of x, where NaN is missing: p(x_observed | z).

    A missing value counts 0 nats and gets no gradient. The encoder reads NaN as well:
    :class:`pyro_vae.networks.MaskedInput` makes any network do that.

    Args:
        latent_dim: size of z.
        data_shape: shape of x.
        decoder: makes the network from an input and an output shape.
        likelihood: makes p(x | z) of complete x, any likelihood of independent values.

    Raises:
        InputError: the values are not independent.

    Source: P.-A. Mattei, J. Frellsen, "MIWAE: deep generative modelling and imputation of incomplete data
    sets", 2018, https://arxiv.org/abs/1812.02633.

    >>> x = torch.tensor([[1.0, float("nan"), 2.0]])
    >>> Missing(2, (3,))(torch.zeros(1, 2)).base_dist.log_prob(x)[0, 1].item()
    0.0
    """

    not_a_part = "it wraps a whole likelihood, as in partial(Missing, likelihood=Bernoulli)"

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

    def wrap_encoder(self, encoder: NetworkFactory) -> NetworkFactory:
        return self.complete.wrap_encoder(encoder)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return self.from_parameters(self.complete.decoder(z)).to_event(self.event_dim)

    def from_parameters(self, parameters: Tensor) -> dist.TorchDistribution:
        return distributions.PartiallyObserved(self.complete.from_parameters(parameters))
