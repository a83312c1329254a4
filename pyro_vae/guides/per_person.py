"""What stands in an encoder's place where each person has numbers of their own."""

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor, nn

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.networks import Network, Shape


class PerPerson(Network):
    """Numbers ``out_shape`` for each of so many people, who are the input, by number from 0.

    Args:
        in_shape: (), for one number a person.
        out_shape: shape of what there is for each.
        people: how many.

    :raises InputError: people who are not whole numbers or, where Pyro validates, not among those.

    >>> PerPerson((), (2, 3), people=10)(torch.tensor([0, 9, 9])).shape
    torch.Size([3, 2, 3])
    """

    takes_missing = True
    reads_names = True

    def __init__(self, in_shape: Shape, out_shape: Shape, people: int) -> None:
        super().__init__(in_shape, out_shape)
        self.table = nn.Parameter(torch.zeros(at_least_1("people", people), *out_shape))

    def transform(self, x: Tensor) -> Tensor:
        if x.is_floating_point():
            raise InputError(f"people's numbers must be whole numbers (int64), not {x.dtype}")
        if is_validation_enabled():
            wrong = x[(x < 0) | (x >= len(self.table))]
            if len(wrong):
                raise InputError(
                    f"people's numbers must lie between 0 and {len(self.table) - 1}, as num_people is "
                    f"{len(self.table)}, but there is a person {int(wrong[0])}"
                )
        return self.table[x.long()]
