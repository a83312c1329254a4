"""Item response theory: traits of people, from questionnaires with missing answers."""

from functools import partial

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.compatibility import check_same_latent
from pyro_vae.distributions import PartiallyObserved
from pyro_vae.errors import InputError, at_least_1, sizes
from pyro_vae.guides import AmortizedGuide, GuideFactory, MeanFieldNormal
from pyro_vae.guides.person_parameters import PersonParameters
from pyro_vae.item_models import Item, ItemFactory, TwoParameter
from pyro_vae.networks import MaskedInput, NetworkFactory, Shape
from pyro_vae.priors import StandardNormal


class ItemResponse(nn.Module):
    """Model answers by traits: z_n ~ Normal(0, I), x_ni ~ p(x_i | z_n), NaN where person n did not answer.

    The guide is q(z | x) = prod_n q(z_n | x_n). A missing answer counts 0 nats. The data determine traits
    up to a rotation, and one trait up to its sign.

    Args:
        data_shape: shape X of one person's answers.
        latent_dim: number Z of traits.
        item: p(x_i | z), made from the number of traits and X: 2PL, or another of
            :mod:`pyro_vae.item_models`.
        guide: q(z | x), made from a shape, the number of traits and the encoder.
        encoder: the guide's network; it must read missing answers.
        num_people: number of people, each with parameters of their own in place of the encoder. The data
            are then (x, person), with persons numbered from 0.

    Raises:
        InputError: there is no item or trait, the encoder cannot read missing answers, or the guide does
            not cover R^Z. When it runs: the data have another shape, or lack or should lack persons.

    Source: A. Birnbaum in F. M. Lord, M. R. Novick, "Statistical theories of mental test scores", 1968;
    amortised: M. Wu, R. L. Davis, B. W. Domingue, C. Piech, N. Goodman, "Variational item response theory:
    fast, accurate, and expressive", 2020, https://arxiv.org/abs/2002.00276.

    >>> x = torch.tensor([[1.0, 0.0, float("nan")]])
    >>> ItemResponse((3,)).answers(torch.zeros(1, 1)).log_prob(x)
    tensor([-1.3863], grad_fn=<SumBackward1>)
    """

    def __init__(
        self,
        data_shape: Shape,
        latent_dim: int = 1,
        *,
        item: ItemFactory = TwoParameter,
        guide: GuideFactory = MeanFieldNormal,
        encoder: NetworkFactory = MaskedInput,
        num_people: int | None = None,
    ) -> None:
        super().__init__()
        self.data_shape, self.num_people = torch.Size(sizes("data_shape", data_shape)), num_people
        if not self.data_shape:
            raise InputError(
                "data_shape is empty", subject="data_shape", expected="at least one item"
            )
        at_least_1("latent_dim", latent_dim)
        self.item = Item.make(item, latent_dim, self.data_shape)
        self.prior = StandardNormal(latent_dim)
        if num_people is None:
            self.recognition = AmortizedGuide.make(guide, data_shape, latent_dim, encoder)
        else:
            table = partial(PersonParameters, num_people=at_least_1("num_people", num_people))
            self.recognition = AmortizedGuide.make(guide, (), latent_dim, table)
        check_same_latent(self.prior, self.recognition)
        network = self.recognition.encoder
        if not getattr(network, "takes_missing", False):
            name = type(network).__name__
            raise InputError(
                f"the encoder {name} cannot read missing answers",
                subject="encoder",
                remedy=f"make it partial(MaskedInput, network={name})",
            )

    def model(self, x: Tensor, person: Tensor | None = None) -> None:
        self._check(x, person)
        with pyro.plate("people", len(x)):
            z = pyro.sample("z", self.prior())  # (B | Z)
            pyro.sample("x", self.answers(z), obs=x)  # (B | X)

    def guide(self, x: Tensor, person: Tensor | None = None) -> None:
        self._check(x, person)
        with pyro.plate("people", len(x)):
            pyro.sample("z", self.recognition(x if person is None else person))  # (B | Z)

    def answers(self, z: Tensor) -> dist.TorchDistribution:
        """Return p(x | z), ``batch | X``, for traits ``batch | Z``."""
        return PartiallyObserved(self.item(z)).to_event(len(self.data_shape))

    def derived_parameters(self) -> dict[str, Tensor]:
        """Return what a table of the items shows beside the parameters, such as ``item.difficulty``."""
        return {f"item.{name}": value for name, value in self.item.derived.items()}

    def _check(self, x: Tensor, person: Tensor | None) -> None:
        if x.shape[1:] != self.data_shape:
            raise InputError(
                f"x holds answers of shape {tuple(x.shape[1:])}",
                subject="x",
                expected=f"items of shape {tuple(self.data_shape)}",
            )
        if person is None and self.num_people is not None:
            raise InputError(
                f"the guide has parameters for each of {self.num_people} people",
                subject="person",
                expected="the persons' numbers",
                remedy="pass (x, person)",
            )
        if person is not None and self.num_people is None:
            raise InputError(
                "the guide reads the answers, not persons",
                subject="person",
                remedy="set num_people, or pass x only",
            )
