"""Draw latents while the model runs: a factor then knows the prior, given what has been drawn."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import _DIM_ALLOCATOR, _PYRO_STACK
from torch import Tensor

Draw = Callable[[str, Any], Tensor]
"""Draw the latent of this name, whose prior is given, and return its value."""


class _AllDrawn(BaseException):
    """Leave the model: what follows costs time, and nobody needs it. No ``except Exception`` stops it."""


def draw_along(
    model: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    drawn: dict[str, Tensor],
    names: Collection[str],
    draw: Draw,
) -> None:
    """Run a model up to the last of these latents, and draw each of them where the model comes to it.

    Nothing outside sees the model's own statements, and ``draw`` runs as if there was no model.

    Args:
        model: without a guide.
        args: the arguments of a call.
        kwargs: its named arguments.
        drawn: latents that have been drawn before; those that are drawn now are added.
        names: of the latents to draw, which the model reaches in this order.
        draw: draws one.
    """
    depth, dims = len(_PYRO_STACK), list(_DIM_ALLOCATOR._stack)
    left = [*names]

    class DrawAlong(Messenger):
        def _pyro_sample(self, msg: Any) -> None:
            name = msg["name"]
            if name == left[0]:
                with _outside(depth, dims):
                    drawn[name] = draw(name, msg["fn"])
                left.pop(0)
                if not left:
                    raise _AllDrawn
            if name in drawn:
                msg["value"] = drawn[name]

    try:
        with poutine.block(), DrawAlong():
            model(*args, **kwargs)
    except _AllDrawn:
        pass
    finally:  # plates that the model has not left
        del _PYRO_STACK[depth:]
        _DIM_ALLOCATOR._stack = dims
    for name in left:  # the model did not come to it
        drawn[name] = draw(name, None)


@contextmanager
def _outside(depth: int, dims: list[Any]) -> Iterator[None]:
    """Take away the handlers and plates that were entered since the stack had this depth."""
    inner, inner_dims = _PYRO_STACK[depth:], _DIM_ALLOCATOR._stack
    del _PYRO_STACK[depth:]
    _DIM_ALLOCATOR._stack = list(dims)
    try:
        yield
    finally:
        _PYRO_STACK[depth:] = inner
        _DIM_ALLOCATOR._stack = inner_dims
