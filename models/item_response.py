"""Item response theory: traits of people, from questionnaires in which answers may be missing."""

from collections.abc import Callable
from functools import partial

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.compatibility import check_same_latent
from pyro_vae.distributions import WithMissing
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.guides import AmortizedGuide, MeanFieldNormal
from pyro_vae.guides.per_person import PerPerson
from pyro_vae.item_models import Item, ItemFactory, TwoParameter
from pyro_vae.networks import MaskedInput, NetworkFactory, Shape
from pyro_vae.priors import StandardNormal


class ItemResponse(nn.Module):
    """z_n ~ Normal(0, I), x_ni ~ p(x_i | z_n), NaN where person n did not answer; guide q(z_n | x_n).

    A missing answer says nothing. Traits are known up to a rotation, of one trait up to its sign.

    Source: A. Birnbaum in F. M. Lord, M. R. Novick, "Statistical theories of mental test scores", 1968;
    amortised: M. Wu, R. L. Davis, B. W. Domingue, C. Piech, N. Goodman, "Variational item response
    theory: fast, accurate, and expressive", 2020, https://arxiv.org/abs/2002.00276.

    Args:
        data_shape: shape X of one person's answers.
        latent_dim: number Z of traits.
        item: p(x_i | z), made from the number of traits and X: 2PL, or another of
            :mod:`pyro_vae.item_models`.
        guide: q(z | x), made from a shape, the number of traits and the encoder.
        encoder: the guide's network; it takes missing answers.
        num_people: makes the guide a table, of a row of its own for each of so many people, in place of
            the encoder. Data are then (x, person), the second numbers from 0.

    :raises InputError: the encoder cannot do without missing answers, the guide does not put z in R^Z, or
        data are not those said above.

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
        guide: Callable[[Shape, int, NetworkFactory], AmortizedGuide] = MeanFieldNormal,
        encoder: NetworkFactory = MaskedInput,
        num_people: int | None = None,
    ) -> None:
        super().__init__()
        self.data_shape, self.num_people = torch.Size(data_shape), num_people
        if num_people is not None:
            at_least_1("num_people", num_people)
        if not data_shape or min(*data_shape, latent_dim) < 1:
            raise InputError(
                "ItemResponse needs an item and a trait at least, not answers of shape "
                f"{tuple(data_shape)} and latent_dim {latent_dim}"
            )
        self.item = Item.make(item, latent_dim, self.data_shape)
        self.prior = StandardNormal(latent_dim)
        if num_people is None:
            self.recognition = AmortizedGuide.make(guide, data_shape, latent_dim, encoder)
        else:
            table = partial(PerPerson, people=num_people)
            self.recognition = AmortizedGuide.make(guide, (), latent_dim, table)
        check_same_latent(self.prior, self.recognition)
        network = self.recognition.encoder
        if not getattr(network, "takes_missing", False):
            name = type(network).__name__
            raise InputError(
                f"answers may be missing, and the encoder {name} cannot do without: make it "
                f"partial(MaskedInput, network={name})"
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
        """p(x | z), ``batch | X``, for traits ``batch | Z``."""
        return WithMissing(self.item(z)).to_event(len(self.data_shape))

    def _check(self, x: Tensor, person: Tensor | None) -> None:
        if x.shape[1:] != self.data_shape:
            raise InputError(
                f"there are {tuple(self.data_shape)} items, not {tuple(x.shape[1:])} as in the data"
            )
        if (person is None) != (self.num_people is None):
            wants = "people's numbers beside the answers, (x, person)"
            raise InputError(
                f"the guide has a row for each of {self.num_people} people: it takes {wants}"
                if person is None
                else f"the guide reads the answers; for it to take {wants}, set num_people"
            )
