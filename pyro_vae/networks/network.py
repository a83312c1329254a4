"""What a network is."""

import abc
from collections.abc import Callable, Sequence
from typing import Any, Self

from torch import Tensor, nn

from pyro_vae.errors import InputError, sizes
from pyro_vae.parts import Part

Shape = Sequence[int]


class Network(Part):
    """Maps ``batch | in_shape`` to ``batch | out_shape``; subclasses say how for one batch dimension.

    ``takes_missing`` says whether an input may hold NaN for values that are missing, ``reads_names``
    whether it holds names or labels by number, through which no gradient goes.

    :raises InputError: shapes of no size, or an input whose last dimensions are not ``in_shape``.
    """

    takes_missing = False
    reads_names = False

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        self.in_shape = sizes("in_shape", in_shape)
        self.out_shape = sizes("out_shape", out_shape)

    @classmethod
    def make(cls, factory: Callable[..., Any], *shapes: Any) -> Self:
        """``factory(in_shape, out_shape)``.

        :raises InputError: it makes no network, or one of other shapes.
        """
        made = super().make(factory, *shapes)
        if isinstance(made, Network) and (made.in_shape, made.out_shape) != tuple(
            map(tuple, shapes)
        ):
            raise InputError(
                f"a network of shapes {tuple(shapes[0])} to {tuple(shapes[1])} is wanted here, and this "
                f"{type(made).__name__} is one of {made.in_shape} to {made.out_shape}"
            )
        return made

    @classmethod
    def accepts(cls, kind: type) -> bool:
        """Any module may, but a part of another kind."""
        return issubclass(kind, cls) or (issubclass(kind, nn.Module) and not issubclass(kind, Part))

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
