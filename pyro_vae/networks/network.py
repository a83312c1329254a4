"""The base class of networks."""

import abc
from collections.abc import Callable, Sequence
from typing import Any, Self

from torch import Tensor, nn

from pyro_vae.errors import InputError, sizes
from pyro_vae.parts import Part

Shape = Sequence[int]


class Network(Part):
    """Map ``batch | in_shape`` to ``batch | out_shape``; a subclass does it for one batch dimension.

    Args:
        in_shape: shape of one input.
        out_shape: shape of one output.

    Attributes:
        takes_missing: whether an input may hold NaN for missing values.
        discrete_input: whether the input is discrete, such as token ids or labels, so no gradient passes.

    Raises:
        InputError: a size is below 1. When it runs: the last dimensions of an input are not ``in_shape``.
    """

    takes_missing = False
    discrete_input = False

    def __init__(self, in_shape: Shape, out_shape: Shape) -> None:
        super().__init__()
        self.in_shape = sizes("in_shape", in_shape)
        self.out_shape = sizes("out_shape", out_shape)

    @classmethod
    def make(cls, factory: Callable[..., Any], *shapes: Any) -> Self:
        """Return ``factory(in_shape, out_shape)``.

        Raises:
            InputError: that is not a network, or has other shapes.
        """
        made = super().make(factory, *shapes)
        in_shape, out_shape = map(tuple, shapes)
        if isinstance(made, Network) and (made.in_shape, made.out_shape) != (in_shape, out_shape):
            name = type(made).__name__
            raise InputError(
                f"{name} has shapes {made.in_shape} to {made.out_shape}",
                subject=name,
                expected=f"a network of shapes {in_shape} to {out_shape}",
            )
        return made

    @classmethod
    def accepts(cls, kind: type) -> bool:
        """Return whether a class is a network, or a module that is not another part."""
        return issubclass(kind, cls) or (issubclass(kind, nn.Module) and not issubclass(kind, Part))

    def forward(self, x: Tensor) -> Tensor:
        batch_dims = x.dim() - len(self.in_shape)
        shape = x.shape[max(batch_dims, 0) :]
        if batch_dims < 0 or not self.takes(shape):
            name = type(self).__name__
            raise InputError(
                f"{name} got inputs of shape {tuple(shape)}",
                subject=name,
                expected=f"shape {self.in_shape}",
            )
        out = self.transform(x.reshape(-1, *shape))  # N | in_shape
        return out.reshape(*x.shape[:batch_dims], *self.out_shape)

    def takes(self, shape: Shape) -> bool:
        """Return whether inputs may have this shape."""
        return tuple(shape) == self.in_shape

    @abc.abstractmethod
    def transform(self, x: Tensor) -> Tensor:
        """Map ``N | in_shape`` to N rows of as many numbers as ``out_shape`` holds."""


NetworkFactory = Callable[[Shape, Shape], Network]
