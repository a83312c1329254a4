"""What a network is."""

import abc
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from pyro_vae.errors import InputError

Shape = Sequence[int]


class Network(nn.Module, abc.ABC):
    """Maps ``batch | in_shape`` to ``batch | out_shape``; subclasses say how for one batch dimension.

    ``takes_missing`` says whether an input may hold NaN for values that are missing, ``reads_names``
    whether it holds names or labels by number, through which no gradient goes.

    :raises InputError: an input whose last dimensions are not ``in_shape``.
    """

    takes_missing = False
    reads_names = False

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        self.in_shape, self.out_shape = tuple(in_shape), tuple(out_shape)

    def forward(self, x: Tensor) -> Tensor:
        batch_dims = x.dim() - len(self.in_shape)
        if batch_dims < 0 or x.shape[batch_dims:] != self.in_shape:
            raise InputError(
                f"{type(self).__name__} takes inputs of shape {self.in_shape}, "
                f"not {tuple(x.shape[max(batch_dims, 0) :])}"
            )
        out = self.transform(x.reshape(-1, *self.in_shape))  # N | in_shape
        return out.reshape(*x.shape[:batch_dims], *self.out_shape)

    @abc.abstractmethod
    def transform(self, x: Tensor) -> Tensor:
        """``N | in_shape`` to N rows of as many numbers as ``out_shape`` holds."""


NetworkFactory = Callable[[Shape, Shape], Network]
