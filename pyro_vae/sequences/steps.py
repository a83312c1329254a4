"""Data as steps of a sequence, and masks of the steps that exist."""

from typing import Any

import torch
from pyro.infer.util import is_validation_enabled
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.networks import Shape


def check_sequence_shape(name: str, data_shape: Shape) -> tuple[int, ...]:
    """Return a shape (T,), (T, D) or (1, T, D) as a tuple.

    Raises:
        InputError: the shape is another.
    """
    shape = tuple(data_shape)
    if min(shape, default=0) < 1 or len(shape) > 3 or (len(shape) == 3 and shape[0] != 1):
        raise InputError(
            f"{name} cannot model data of shape {shape}",
            subject=name,
            expected="sequences (steps,) or (steps, values), or grey images, whose rows are the steps",
        )
    return shape


def step_mask(x: Tensor, data_shape: Shape, lengths: Tensor | None) -> Any:
    """Return a mask of the steps that exist, (T, B), or (T,) of True without lengths.

    The type is Any, because Pyro's masks are untyped.

    Raises:
        InputError: the data have another shape, ``lengths`` is not one whole number for each sequence, or,
            where Pyro validates, a length is out of range.

    >>> step_mask(torch.zeros(2, 3), (3,), torch.tensor([1, 3])).T
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    shape = tuple(data_shape)
    if x.shape[1:] != shape:
        raise InputError(
            f"x holds sequences of shape {tuple(x.shape[1:])}",
            subject="x",
            expected=f"shape {shape}",
        )
    steps = torch.arange(shape[-2:][0], device=x.device)
    if lengths is None:
        return steps >= 0
    if lengths.shape != x.shape[:1] or lengths.is_floating_point():
        raise InputError(
            f"lengths has shape {tuple(lengths.shape)} and type {lengths.dtype}",
            subject="lengths",
            expected=f"one whole number (int64) for each of {len(x)} sequences",
        )
    if is_validation_enabled():
        wrong = lengths[(lengths < 1) | (lengths > len(steps))]
        if len(wrong):
            raise InputError(
                f"lengths holds {int(wrong[0])}",
                subject="lengths",
                expected=f"whole numbers from 1 to {len(steps)}, the number of steps",
            )
    return steps.unsqueeze(-1) < lengths


def as_steps(x: Tensor, data_shape: Shape) -> Tensor:
    """Return a batch ``B | data_shape`` as steps, (B, T, D).

    The steps of (..., T, columns) are the rows, those of (T,) the values.

    >>> x = torch.rand(5, 3, 7, 2)
    >>> as_steps(x, (3, 7, 2)).shape, torch.equal(as_data(as_steps(x, (3, 7, 2)), (3, 7, 2)), x)
    (torch.Size([5, 7, 6]), True)
    """
    return (x.unsqueeze(-1) if len(data_shape) == 1 else x.movedim(-2, 1)).flatten(2)


def as_data(steps: Tensor, data_shape: Shape) -> Tensor:
    """Return steps (..., T, D) as ``... | data_shape``: the inverse of :func:`as_steps`."""
    if len(data_shape) == 1:
        return steps.squeeze(-1)
    rest = (*data_shape[:-2], data_shape[-1])
    return steps.unflatten(-1, rest).movedim(-1 - len(rest), -2)
