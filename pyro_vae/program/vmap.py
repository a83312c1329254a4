"""A function run many times at once by ``torch.func.vmap``, with additions for Pyro programs.

Each run has the shapes of a single run. Plain ``vmap`` treats a tensor that is made within a run as shared
by all runs, and refuses to write noise or latents to it; it lacks some samplers and all recurrent networks.
"""

import copy
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import pyro
import pyro.util
import torch
from pyro.ops import special
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch._decomp import decomposition_table
from torch.distributions import Distribution, Transform
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

from pyro_vae.errors import InputError, first_line
from pyro_vae.program.log_prob import unit_log_prob
from pyro_vae.user_code import program_line


def map_runs(
    function: Callable[..., Any], num_runs: int, *values: Any, at_once: int | None = None
) -> Any:
    """Return the results of a function for each of many values, stacked on the left.

    Args:
        function: may sample sites, which are drawn for each run separately.
        num_runs: how many runs.
        values: tensors, or dictionaries of them, ``num_runs, ...``.
        at_once: how many runs are made at a time; only draws depend on it.

    Raises:
        RuntimeError: the function cannot be mapped, as one that needs a tensor's value in Python.

    >>> map_runs(lambda w: torch.ones(3, 2) @ w, 2, torch.tensor([[1.0, 1.0], [1.0, 2.0]]))
    tensor([[2., 2., 2.],
            [3., 3., 3.]])
    """

    def one(number: Tensor, *values: Any) -> Any:
        with _OwnTensors(number), _OwnDraws(number), _mappable():
            return function(*values)

    mapped = torch.func.vmap(one, randomness="different", chunk_size=at_once)
    return mapped(torch.arange(num_runs), *values)


@contextmanager
def _mappable() -> Iterator[None]:
    """Turn off the checks of values in distributions and in Pyro, and let Pyro's sums be mapped."""
    with (
        mock.patch.object(Distribution, "_validate_sample"),
        mock.patch.object(pyro.util, "torch_isnan", return_value=False),
        mock.patch.object(pyro.util, "torch_isinf", return_value=False),
        mock.patch.object(special, "_SafeLog", _SafeLog),
        warnings.catch_warnings(),
    ):
        for words in (".*performance drop", "An output with one or more elements was resized"):
            warnings.filterwarnings("ignore", message=words)  # torch's warnings about its own work
        yield


class _SafeLog(torch.autograd.Function):
    """Compute Pyro's logarithm, whose gradient is finite at 0."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.log()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient / x.clamp(min=torch.finfo(x.dtype).eps)


# --- operations -----------------------------------------------------------------------------------

MAKERS = {
    *(torch.zeros, torch.ones, torch.empty, torch.full),
    *(torch.zeros_like, torch.ones_like, torch.empty_like, torch.full_like),
    *(Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty, Tensor.new_full, Tensor.new),
    *(torch.clone, Tensor.clone),
}
GET_DATA = Tensor.data.__get__  # type: ignore[attr-defined]


class _OwnTensors(TorchFunctionMode):
    """Give each run its own copy of tensors made in it, and add operations that ``vmap`` lacks.

    Args:
        number: of the run.
    """

    def __init__(self, number: Tensor) -> None:
        super().__init__()
        self.number = number
        self.marks: dict[torch.device, Tensor] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__setitem__ and _fills(*args):
            return args[0].masked_fill_(args[1], args[2])
        if func == GET_DATA:
            return args[0].detach()
        other = _recurrent(func, args)
        result = (other or func)(*args, **(kwargs or {}))
        if func not in MAKERS or is_batchedtensor(result):
            return result
        if result.device not in self.marks:
            self.marks[result.device] = torch.ones_like(
                self.number, dtype=torch.bool, device=result.device
            )
        return torch.where(self.marks[result.device], result, result)


def _fills(x: Tensor, index: Any, value: Any) -> bool:
    """Return whether ``x[index] = value`` puts one number wherever a mask is True."""
    is_mask = isinstance(index, Tensor) and index.dtype == torch.bool and index.shape == x.shape
    return is_mask and (not isinstance(value, Tensor) or value.dim() == 0)


def _recurrent(func: Any, args: tuple[Any, ...]) -> Callable[..., Any] | None:
    """Return a recurrent network by its formulas, if its inputs or weights differ from run to run."""
    name = getattr(func, "__name__", "")
    if name not in (*CELLS, *LAYERS) or not _differ(args):
        return None
    if name in CELLS:
        return CELLS[name]
    return decomposition_table[getattr(torch.ops.aten, name).input]


def _differ(x: Any) -> bool:
    if isinstance(x, list | tuple):
        return any(map(_differ, x))
    return isinstance(x, Tensor) and is_batchedtensor(x)


def _lstm_cell(x: Tensor, state: Any, wi: Tensor, wh: Tensor, bi: Any, bh: Any) -> Any:
    h, c = state
    entry, forget, new, out = (linear(x, wi, bi) + linear(h, wh, bh)).chunk(4, -1)
    c = forget.sigmoid() * c + entry.sigmoid() * new.tanh()
    return out.sigmoid() * c.tanh(), c


def _gru_cell(x: Tensor, h: Tensor, wi: Tensor, wh: Tensor, bi: Any, bh: Any) -> Tensor:
    reset, keep, new = linear(x, wi, bi).chunk(3, -1)
    h_reset, h_keep, h_new = linear(h, wh, bh).chunk(3, -1)
    new = (new + (reset + h_reset).sigmoid() * h_new).tanh()
    return new + (keep + h_keep).sigmoid() * (h - new)


CELLS: dict[str, Callable[..., Any]] = {"lstm_cell": _lstm_cell, "gru_cell": _gru_cell}
LAYERS = ("lstm", "gru", "rnn_tanh", "rnn_relu")


# --- draws ----------------------------------------------------------------------------------------


KNOWN = ("torch.", "pyro.", "pyro_vae.")  # packages that draw from torch's generator alone


class _OwnDraws(Messenger):
    """Draw sites of all runs at once; one run after another if ``vmap`` has no, or an unknown, sampler."""

    def __init__(self, number: Tensor) -> None:
        super().__init__()
        self.number = number

    def _pyro_sample(self, msg: Any) -> None:
        # a distribution may be shared by all calls, and would cache values of these runs
        parts: dict[int, Any] = {}
        fn = msg["fn"] = _swapped(msg["fn"], lambda x: x, parts)
        if msg["done"] or msg["value"] is not None or isinstance(fn, _Subsample):
            return
        value = None
        if parts and all(type(part).__module__.startswith(KNOWN) for part in parts.values()):
            with suppress(RuntimeError, NotImplementedError):
                value = fn(*msg["args"], **msg["kwargs"])
        if value is None:  # each run in turn
            value = _Sample.apply(fn, self.number, *_tensors(fn))
        msg["value"], msg["done"] = value, True


class _Sample(torch.autograd.Function):
    """Draw once from a distribution, rebuilt with given tensors; under ``vmap``, once for each run."""

    @staticmethod
    def forward(fn: Any, number: Tensor, *tensors: Tensor) -> Tensor:
        given = iter(tensors)
        value: Tensor = _swapped(fn, lambda _: next(given), {})()
        return value

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(output)

    @staticmethod
    def vmap(info: Any, in_dims: Any, fn: Any, number: Tensor, *tensors: Tensor) -> Any:
        def of_run(k: int) -> list[Tensor]:
            pairs = zip(tensors, in_dims[2:], strict=True)
            return [x if dim is None else x.select(dim, k) for x, dim in pairs]

        draws = [_Sample.forward(fn, number, *of_run(k)) for k in range(info.batch_size)]
        return torch.stack(draws), 0


def _tensors(fn: Any) -> list[Tensor]:
    """Return the tensors of a distribution, in the order in which they are swapped."""
    tensors: list[Tensor] = []

    def noted(x: Tensor) -> Tensor:
        tensors.append(x)
        return x

    _swapped(fn, noted, {})
    return tensors


def _swapped(x: Any, swap: Callable[[Tensor], Tensor], copies: dict[int, Any]) -> Any:
    """Return a copy of a distribution with other tensors in place of its own.

    Args:
        x: the distribution, or a part of it.
        swap: gives the other tensor.
        copies: by the object's identity: a transform and its inverse hold each other.
    """
    if isinstance(x, Tensor):
        return swap(x)
    if type(x) in (list, tuple):
        return type(x)(_swapped(part, swap, copies) for part in x)
    if not isinstance(x, Distribution | Transform) or isinstance(x, nn.Module):
        return x
    if id(x) not in copies:
        copies[id(x)] = copy.copy(x)
        for name, part in vars(x).items():
            is_back = isinstance(part, weakref.ref)  # from a transform to its inverse
            copies[id(x)].__dict__[name] = None if is_back else _swapped(part, swap, copies)
    return copies[id(x)]


# --- reasons ----------------------------------------------------------------------------------------

MEANINGS = {  # of torch's messages
    "data-dependent control flow": "Python decides by the value of a tensor (`torch.where` would not)",
    ".item()": "a tensor becomes a Python number",
    "dynamic shape": "values are picked by a mask that depends on latents (`torch.where` keeps the shape)",
    "data pointer": "a tensor is handed to NumPy",
    ".numpy()": "a tensor is handed to NumPy",
}


def reason_of(error: BaseException) -> str:
    """Return why ``vmap`` fails, and in which line of the program or at which site."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = first_line(error)
    reason = next((meaning for said, meaning in MEANINGS.items() if said in text), "")
    if not reason:
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}, "
        reason = kind + (text.split(". ")[0] if kind else text)
    calls = list(traceback.walk_tb(error.__traceback__))
    for frame, _ in calls:
        if frame.f_code is unit_log_prob.__code__:
            site = frame.f_locals["site"]
            reason += f" where site {site['name']!r} ({site['fn']}) is scored"
    line = program_line(calls)
    return f"{reason} ({line})" if line else reason
