"""Draws of a guide that give all units the same noise: common random numbers.

The noise behind the draws, such as the e of z = loc + scale e, is drawn for one unit and used for all. So
a unit's draws are the same alone and among others, and differences between units hold less noise.
"""

import copy
import functools
from typing import Any
from unittest import mock

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor
from torch.distributions import Categorical
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_vae.program.isolation import seed_all

aten = torch.ops.aten
FILLS = {aten.normal_.default, aten.uniform_.default, aten.exponential_.default}
OF_SIZE = {aten.randn.default, aten.rand.default}
LIKE = {aten.randn_like.default, aten.rand_like.default, aten.exponential.default}


class NoCommonNoiseError(Exception):
    """Report a draw whose noise cannot be shared, as that of a Gamma, which rejects by the unit."""


def is_without_common_noise(error: BaseException | None) -> bool:
    """Return whether a draw that cannot share its noise is behind an error."""
    while error is not None and not isinstance(error, NoCommonNoiseError):
        error = error.__cause__
    return error is not None


class CommonNoise(Messenger):
    """Draw the sites in a plate with one noise for all its units.

    Each site starts from the generator's state after the site before it, whatever that one has drawn.

    Args:
        unit: the plate's name.

    >>> import pyro, pyro.distributions as dist
    >>> def guide():
    ...     with pyro.plate("rows", 3):
    ...         return pyro.sample("z", dist.Normal(torch.arange(3.0), 1.0))
    >>> z = CommonNoise("rows")(guide)()
    >>> torch.allclose(z - torch.arange(3.0), z[0])
    True
    """

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or msg["value"] is not None or isinstance(msg["fn"], _Subsample):
            return
        frames = [frame for frame in msg["cond_indep_stack"] if frame.name == self.unit]
        if frames and frames[0].dim is not None:
            msg["fn"] = _common(msg["fn"], frames[0].dim)


class _Common:
    """Give draws of a distribution the same noise along a dimension of its batch; a part of its class."""

    _unit_dim: int

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        other = super().expand(batch_shape, _instance)  # type: ignore[misc]
        return _common(other, self._unit_dim)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        shape = torch.Size(*args, **kwargs)
        batch: torch.Size = self.batch_shape  # type: ignore[attr-defined]
        after = int(torch.randint(2**31, ()))
        with (
            mock.patch.object(Categorical, "sample", _race),
            _SameAlong(len(shape) + len(batch) + self._unit_dim, batch[self._unit_dim]),
        ):
            value = super().__call__(shape)  # type: ignore[misc]
        seed_all(after)
        return value


def _common(fn: Any, dim: int) -> Any:
    """Return a distribution of a class of its own, so that whoever asks for its kind finds it."""
    copied = copy.copy(fn)
    if not isinstance(fn, _Common):
        kind: Any = type(fn)
        copied.__class__ = _common_class(kind)
    copied._unit_dim = dim
    return copied


@functools.cache
def _common_class(kind: type) -> type:
    return type(kind.__name__, (_Common, kind), {"__module__": kind.__module__})


def _race(self: Categorical, sample_shape: Any = ()) -> Tensor:
    """Draw by exponential clocks, the first of which to ring wins: their noise has the units' dimension."""
    rates = self.probs.expand(
        self._extended_shape(torch.Size(sample_shape)) + self.probs.shape[-1:]
    )
    return (rates / torch.empty_like(rates).exponential_()).argmax(-1)


class _SameAlong(TorchDispatchMode):
    """Draw all noise for size 1 in a dimension, and expand it.

    Args:
        dim: the dimension, counted from the left.
        size: what it is in each draw.
    """

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        self.dim, self.size = dim, size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        if func in FILLS:
            whole, rest = args[0], args[1:]
            return whole.copy_(func(whole.new_empty(self._one(whole.shape)), *rest, **kwargs))
        if func in LIKE:
            like = args[0].new_empty(self._one(args[0].shape))
            return func(like, *args[1:], **kwargs).expand(args[0].shape).clone()
        if func in OF_SIZE:
            return func(self._one(args[0]), *args[1:], **kwargs).expand(args[0]).clone()
        if func is aten.normal.float_float:
            mean, std, size = args[:3]
            return func(mean, std, self._one(size), *args[3:], **kwargs).expand(size).clone()
        if func is aten.normal.Tensor_Tensor:
            mean, std = torch.broadcast_tensors(args[0], args[1])
            return mean + std * torch.randn_like(mean[self._first(mean.shape)])
        if func is aten.bernoulli.default:
            p = args[0]
            return (torch.rand_like(p[self._first(p.shape)]) < p).to(p.dtype)
        raise NoCommonNoiseError(str(func))

    def _one(self, shape: Any) -> list[int]:
        """Return a shape with 1 in the dimension of the units."""
        sizes = list(shape)
        if len(sizes) <= self.dim or sizes[self.dim] != self.size:
            raise NoCommonNoiseError(f"noise of shape {tuple(sizes)}")
        sizes[self.dim] = 1
        return sizes

    def _first(self, shape: Any) -> tuple[slice, ...]:
        self._one(shape)
        return (*(slice(None),) * self.dim, slice(1))
