"""A function of tensors as a graph of tensor operations, without Python.

torch's tracer records one run: for a training step that is model, guide, ELBO and backward pass. The graph
freezes whatever Python did in that run, so a program is refused where Python decides something in every
run: control flow on values, and numbers from elsewhere than the arguments and torch's generators.
:mod:`pyro_vae.inference.compiling.side_effects` finds what such a graph would leave out.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor, fx
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
)

from pyro_vae.errors import first_line
from pyro_vae.inference.compiling.constants import ConstantReads, share_memory
from pyro_vae.program.log_prob import for_compiler
from pyro_vae.program.trace import as_raised
from pyro_vae.user_code import Line, program_line

CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)


class CannotCapture(Exception):
    """Say why a function stays in Python: a clause that names the site."""


@dataclass(frozen=True)
class CapturedGraph:
    """Hold a graph: ``module(*tensors, *arguments)`` returns what the function returned.

    Attributes:
        module: the operations.
        tensors: the tensors that the function read besides its arguments: parameters, buffers, constants.
            They are the same objects, so that an update in place reaches the graph.
        values: what Python read of constants while it was traced.
        constants: the tensors that these values depend on, with their versions.
    """

    module: fx.GraphModule
    tensors: list[Tensor]
    values: list[Any] = field(default_factory=list)
    constants: list[tuple[Tensor, int]] = field(default_factory=list)


def capture(
    function: Callable[..., Any], *arguments: Tensor, all_fixed: bool = False
) -> CapturedGraph:
    """Return the graph of ``function``, which maps tensors to a tuple of tensors and Nones.

    It is traced twice, and both traces must agree.

    Args:
        function: maps tensors to a tuple of tensors and Nones.
        arguments: its arguments; the graph holds for their shapes.
        all_fixed: whether parameters never change, so that Python may read their values.

    Raises:
        CannotCapture: Python decides something in every run.
    """
    first, second = (capture_once(function, *arguments, all_fixed=all_fixed) for _ in range(2))
    if first.module.code != second.module.code:
        difference = _first_difference(first.module.code, second.module.code)
        raise CannotCapture(f"it does not do the same in every run ({difference})")
    if first.values != second.values:
        raise CannotCapture(
            "it does not do the same in every run (a constant that Python reads has another value)"
        )
    for one, other in zip(first.tensors, second.tensors, strict=True):
        if one is not other and not same_value(one, other):
            raise CannotCapture(
                f"a constant of shape {tuple(one.shape)} is another one in every run: it comes from a "
                "counter, from NumPy or from Python's random numbers"
            )
    return first


def capture_once(
    function: Callable[..., Any], *arguments: Tensor, all_fixed: bool = False
) -> CapturedGraph:
    """Return the graph of one run, for callers that compare its results with the function's.

    Args:
        function: maps tensors to a tuple of tensors and Nones.
        arguments: its arguments; the graph holds for their shapes.
        all_fixed: whether parameters never change, so that Python may read their values.

    Raises:
        CannotCapture: Python decides something in every run.
    """
    # imported where a program is traced: it takes a second, and short fits and evidences need no graph
    from torch.fx.experimental.proxy_tensor import make_fx

    reads = ConstantReads(all_fixed, capture_once.__code__)

    def traced(*fake: Tensor) -> Any:
        with reads:
            return function(*fake)

    with SiteTracker() as tracker, for_compiler():
        try:
            module = make_fx(traced, tracing_mode="fake", _allow_non_fake_inputs=True)(*arguments)
        except Exception as error:
            raise CannotCapture(_reason(as_raised(error), tracker, reads)) from error
    _use_reshape(module)
    graph = _lift_tensors(module)
    trained = [tensor for tensor in graph.tensors if tensor.requires_grad]
    if not all_fixed and share_memory(reads.sources, trained):
        raise CannotCapture("Python needs to know a parameter's value")
    constants = [(tensor, tensor._version) for tensor in reads.sources]
    return replace(graph, values=reads.values, constants=constants)


def _use_reshape(module: fx.GraphModule) -> None:
    """Let views of another shape copy where they must, next to convolutions.

    A traced convolution of images that lie channels last may give other strides than a real one. Elsewhere
    views stay: they are faster, and other passes know them.
    """
    if not any(node.target in CONVOLUTIONS for node in module.graph.nodes):
        return
    for node in module.graph.nodes:
        if node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default
    module.recompile()


def _lift_tensors(module: fx.GraphModule) -> CapturedGraph:
    """Turn the tensors that a graph holds into inputs, in front of all others."""
    graph = module.graph
    graph.eliminate_dead_code()
    start = next(iter(graph.nodes))
    inputs: dict[int, fx.Node] = {}
    tensors: list[Tensor] = []
    for node in list(graph.nodes):
        if node.op == "get_attr":
            tensor = getattr(module, node.target)
            if isinstance(tensor, torch.Generator):
                raise CannotCapture("it draws from a generator of its own, not torch's global one")
            if id(tensor) not in inputs:
                with graph.inserting_before(start):
                    inputs[id(tensor)] = graph.placeholder(f"tensor{len(tensors)}")
                inputs[id(tensor)].meta = {"val": tensor}
                tensors.append(tensor)
            node.replace_all_uses_with(inputs[id(tensor)])
            graph.erase_node(node)
    return CapturedGraph(fx.GraphModule({}, graph), tensors)


class SiteTracker(Messenger):
    """Remember the last sample site that a program reached."""

    def __init__(self) -> None:
        super().__init__()
        self.name: str | None = None

    def __str__(self) -> str:
        return "before the first site" if self.name is None else f"after site {self.name!r}"

    def _pyro_post_sample(self, msg: Any) -> None:
        if not isinstance(msg["fn"], _Subsample):
            self.name = msg["name"]


def _reason(error: Exception, tracker: SiteTracker, reads: ConstantReads) -> str:
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    line = _shown(program_line(traceback.walk_tb(error.__traceback__)))
    if isinstance(error, DataDependentOutputException | GuardOnDataDependentSymNode):
        return f"Python needs to know a tensor's value {tracker}{line}"
    if "data is not allocated" in str(error):  # torch's words for a value that is only traced
        return f"Python or NumPy needs to know a tensor's value {tracker}{line}"
    if isinstance(error, DynamicOutputShapeException):
        return f"a shape depends on a tensor's values {tracker}{line}"
    reason = f"{type(error).__name__} {tracker}: {first_line(error)}"
    if not reads.has_symbol:
        return reason
    return f"Python needs to know a tensor's value{_shown(reads.symbol_line)}; then came {reason}"


def _shown(line: Line | None) -> str:
    return f" ({line})" if line else ""


def _first_difference(one: str, other: str) -> str:
    for line, other_line in zip(one.splitlines(), other.splitlines(), strict=False):
        if line != other_line:
            return " / ".join(x.split(";")[0].split("torch.ops.")[-1] for x in (line, other_line))
    return "one run has more operations"


def same_value(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return False
    return torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
