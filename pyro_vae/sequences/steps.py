"""Sequences: which of their steps there are, and data as steps."""

from typing import Any

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.networks import Shape


def check_steps(name: str, data_shape: Shape) -> tuple[int, ...]:
    """:raises InputError: the shape is none of (T,), (T, D) and (1, T, D)."""
    shape = tuple(data_shape)
    if min(shape, default=0) < 1 or len(shape) > 3 or (len(shape) == 3 and shape[0] != 1):
        raise InputError(
            f"{name} takes sequences (steps,) or (steps, values), or grey images, whose rows are the "
            f"steps, not data of shape {shape}"
        )
    return shape


def seen_steps(x: Tensor, data_shape: Shape, lengths: Tensor | None) -> Any:
    """Where a sequence has a step, (T, B); (T,) of True where all have all.

    Any, for Pyro's masks are not typed.

    :raises InputError: data of another shape, lengths that are not one whole number a sequence, or, where
        Pyro validates, out of range.

    >>> seen_steps(torch.zeros(2, 3), (3,), torch.tensor([1, 3])).T
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    shape = tuple(data_shape)
    if x.shape[1:] != shape:
        raise InputError(f"the model takes sequences of shape {shape}, not {tuple(x.shape[1:])}")
    steps = torch.arange(shape[-2:][0], device=x.device)
    if lengths is None:
        return steps >= 0
    if lengths.shape != x.shape[:1] or lengths.is_floating_point():
        raise InputError(
            f"lengths must be one whole number for each of {len(x)} sequences, not {lengths.dtype} of "
            f"shape {tuple(lengths.shape)}"
        )
    if is_validation_enabled():
        wrong = lengths[(lengths < 1) | (lengths > len(steps))]
        if len(wrong):
            raise InputError(
                f"lengths must lie between 1 and {len(steps)}, the steps there are, but there is a length "
                f"{int(wrong[0])}"
            )
    return steps.unsqueeze(-1) < lengths


def as_steps(x: Tensor, data_shape: Shape) -> Tensor:
    """A batch ``B | data_shape`` as steps, (B, T, D): of (..., T, columns) the rows, of (T,) the values.

    >>> x = torch.rand(5, 3, 7, 2)
    >>> as_steps(x, (3, 7, 2)).shape, torch.equal(as_data(as_steps(x, (3, 7, 2)), (3, 7, 2)), x)
    (torch.Size([5, 7, 6]), True)
    """
    return (x.unsqueeze(-1) if len(data_shape) == 1 else x.movedim(-2, 1)).flatten(2)


def as_data(steps: Tensor, data_shape: Shape) -> Tensor:
    """The inverse: (..., T, D) as ``... | data_shape``."""
    if len(data_shape) == 1:
        return steps.squeeze(-1)
    rest = (*data_shape[:-2], data_shape[-1])
    return steps.unflatten(-1, rest).movedim(-1 - len(rest), -2)
