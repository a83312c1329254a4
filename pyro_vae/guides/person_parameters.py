"""A table that replaces an encoder where each person has parameters of their own."""

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.networks import Network, Shape


class PersonParameters(Network):
    """Look up learned parameters, ``batch | out_shape``, by the number of a person, ``batch``.

    Args:
        in_shape: (), for one number a person.
        out_shape: shape of one person's parameters.
        num_people: number of people, who are numbered from 0.

    Raises:
        InputError: a person's number is not whole or, where Pyro validates, out of range.

    >>> PersonParameters((), (2, 3), num_people=10)(torch.tensor([0, 9, 9])).shape
    torch.Size([3, 2, 3])
    """

    is_offered = False
    takes_missing = True
    discrete_input = True

    def __init__(self, in_shape: Shape, out_shape: Shape, num_people: int) -> None:
        super().__init__(in_shape, out_shape)
        self.table = nn.Parameter(torch.zeros(at_least_1("num_people", num_people), *out_shape))

    def transform(self, x: Tensor) -> Tensor:
        if x.is_floating_point():
            raise InputError(
                f"person holds {x.dtype}", subject="person", expected="whole numbers (int64)"
            )
        if is_validation_enabled():
            wrong = x[(x < 0) | (x >= len(self.table))]
            if len(wrong):
                raise InputError(
                    f"the data hold person {int(wrong[0])}",
                    subject="person",
                    expected=f"numbers from 0 to {len(self.table) - 1}",
                    remedy=f"set num_people, which is {len(self.table)}",
                )
        return self.table[x.long()]
