"""Functions that are called again and again: Python at first, a graph without it where they go on."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from pyro_vae.inference.compiling.constants import draws, written
from pyro_vae.inference.compiling.fx_capture import Graph, trace
from pyro_vae.inference.compiling.onednn import use_onednn

Tensors = tuple[Tensor, ...]
# calls, which cost about what tracing does; counted, not timed, so that a run can be repeated
WORTH_A_GRAPH = 200
TRIALS = 2  # calls that graph and function both answer, and must agree on


class Captured:
    """A function from tensors to tensors that calls its own graph, once it has one.

    Whatever else the function reads must stay as it is: what follows from that alone is computed once.
    A graph holds for arguments of one shape. It takes over after as many calls with them as its making is
    worth, if it says what the function does; else the function goes on.
    """

    def __init__(self, function: Callable[..., Tensors]) -> None:
        self.function = function
        self.calls: Counter[Any] = Counter()
        self.graphs: dict[Any, Graph] = {}

    def __call__(self, *arguments: Tensor) -> Tensors:
        shapes = tuple((a.shape, a.stride(), a.dtype) for a in arguments)
        self.calls[shapes] += 1
        on_trial = self.calls[shapes] - WORTH_A_GRAPH in range(TRIALS)
        if shapes in self.graphs and not on_trial:
            return run(self.graphs[shapes], *arguments)
        result = self.function(*arguments)
        if on_trial:
            self.try_graph(shapes, arguments, result)
        return result

    def try_graph(self, shapes: Any, arguments: Tensors, result: Tensors) -> None:
        try:
            if self.calls[shapes] == WORTH_A_GRAPH:
                self.graphs[shapes] = fast(trace(self.function, *arguments, all_fixed=True))
            if shapes in self.graphs and not same(run(self.graphs[shapes], *arguments), result):
                del self.graphs[shapes]
        except Exception:  # whatever it was, Python can do without a graph
            self.graphs.pop(shapes, None)


def run(graph: Graph, *arguments: Tensor) -> Tensors:
    with torch.no_grad():
        return tuple(graph.module(*graph.tensors, *arguments))


def same(ours: Tensors, expected: Tensors) -> bool:
    """Equal up to rounding, of the largest element."""
    return all(
        torch.allclose(a, b, rtol=0, atol=1e-4 * largest(b), equal_nan=True)
        for a, b in zip(ours, expected, strict=True)
    )


def largest(x: Tensor) -> float:
    return float(x.abs().nan_to_num(0, 0, 0).max()) if x.numel() else 0.0


# --- what need not be done at every call --------------------------------------------------------


def fast(graph: Graph) -> Graph:
    """The same, done once where no argument has a part in it, and with oneDNN's products."""
    leave_out_identities(graph.module)
    less = folded(graph)
    use_onednn(less.module)
    return less


def leave_out_identities(module: fx.GraphModule) -> None:
    """Removes operations that give their input back."""
    for node in list(module.graph.nodes):
        if not isinstance(node.target, OpOverload) or not node.target.is_view:
            continue
        (source, *_), out = node.args, node.meta["val"]
        like = source.meta.get("val") if isinstance(source, fx.Node) else None
        if isinstance(out, Tensor) and like is not None and placed(out) == placed(like):
            node.replace_all_uses_with(source)
            module.graph.erase_node(node)
    module.recompile()


def placed(x: Tensor) -> Any:
    return x.shape, x.stride(), x.storage_offset(), x.dtype, x.is_conj(), x.is_neg()


def folded(graph: Graph) -> Graph:
    """Computes beforehand what depends on the graph's own tensors alone."""
    nodes = graph.module.graph
    inputs = [node for node in nodes.nodes if node.op == "placeholder"]
    owned = dict(zip(inputs, graph.tensors, strict=False))
    changing = set(written(nodes))
    known: dict[fx.Node, Any] = {n: tensor for n, tensor in owned.items() if n not in changing}
    for node in nodes.nodes:
        if node.op != "call_function" or node in changing or draws(node):
            continue
        if known.keys() >= set(node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), known.__getitem__)
            with torch.no_grad():
                known[node] = node.target(*args, **kwargs)
    return with_inputs(nodes, known, {n: t for n, t in owned.items() if n in changing})


def with_inputs(nodes: fx.Graph, known: dict[fx.Node, Any], others: dict[fx.Node, Tensor]) -> Graph:
    """The graph with inputs in place of all that is known, in front of the others that it has."""
    start = next(iter(nodes.nodes))
    tensors: list[Tensor] = []
    for node, value in known.items():
        users = [user for user in node.users if user not in known]
        if users:
            with nodes.inserting_before(start):
                new = nodes.placeholder(f"known{len(tensors)}")
            new.meta = {"val": value}
            tensors.append(value)
            for user in users:
                user.replace_input_with(node, new)
    for node in reversed(known):
        nodes.erase_node(node)
    return Graph(fx.GraphModule({}, nodes), [*tensors, *others.values()])
