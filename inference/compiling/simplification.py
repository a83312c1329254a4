"""What need not be done at every run of a graph."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from pyro_vae.inference.compiling.constants import is_constant, is_random, is_view, written_nodes
from pyro_vae.inference.compiling.fx_capture import CapturedGraph
from pyro_vae.inference.compiling.onednn import use_onednn


def optimize(graph: CapturedGraph) -> CapturedGraph:
    """Compute once what no argument has a part in, and use oneDNN's products."""
    simplify(graph.module)
    folded = fold_constants(graph)
    use_onednn(folded.module)
    return folded


def simplify(module: fx.GraphModule) -> None:
    """Remove operations that return their input, and those that repeat one.

    A distribution is made anew in model, guide and density, and autograd undoes views one by one: of a
    small program's operations these are a third, and each takes some microseconds.
    """
    _remove_identities(module.graph)
    _merge_equal(module.graph)
    module.recompile()


def _remove_identities(graph: fx.Graph) -> None:
    for node in list(graph.nodes):
        if not isinstance(node.target, OpOverload) or not node.target.is_view:
            continue
        (source, *_), out = node.args, node.meta["val"]
        like = source.meta.get("val") if isinstance(source, fx.Node) else None
        if isinstance(out, Tensor) and like is not None and _placement(out) == _placement(like):
            node.replace_all_uses_with(source)
            graph.erase_node(node)


def _merge_equal(graph: fx.Graph) -> None:
    """Merge operations of the same tensors, but those whose memory something writes to, here or later.

    Whoever gets the graph's results may write to them, so none of them may share memory with another.
    """
    results = graph.output_node().all_input_nodes
    written = set(written_nodes(graph)) | {
        source for node in results for source in _memory_of(node)
    }
    first: dict[Any, fx.Node] = {}
    for node in list(graph.nodes):
        if is_view(node) and not written.isdisjoint(node.all_input_nodes):
            written.add(node)
        needed = {node, *node.all_input_nodes}
        if not is_constant(node) or not written.isdisjoint(needed):
            continue
        # in words, since 0, -0 and False are equal, and lists have no hash
        key = node.target, repr(node.args), repr(node.kwargs)
        if key in first:
            node.replace_all_uses_with(first[key])
            graph.erase_node(node)
        else:
            first[key] = node


def _memory_of(node: fx.Node) -> Iterator[fx.Node]:
    """Yield a node, and those that it is a view of."""
    yield node
    while is_view(node):
        (node, *_) = node.all_input_nodes
        yield node


def _placement(x: Tensor) -> Any:
    return x.shape, x.stride(), x.storage_offset(), x.dtype, x.is_conj(), x.is_neg()


def fold_constants(graph: CapturedGraph) -> CapturedGraph:
    """Compute in advance what depends on the graph's own tensors alone."""
    nodes = graph.module.graph
    inputs = [node for node in nodes.nodes if node.op == "placeholder"]
    owned = dict(zip(inputs, graph.tensors, strict=False))
    changing = set(written_nodes(nodes))
    known: dict[fx.Node, Any] = {n: tensor for n, tensor in owned.items() if n not in changing}
    for node in nodes.nodes:
        if node.op != "call_function" or node in changing or is_random(node):
            continue
        if known.keys() >= set(node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), known.__getitem__)
            with torch.no_grad():
                known[node] = node.target(*args, **kwargs)
    return _with_inputs(nodes, known, {n: t for n, t in owned.items() if n in changing})


def _with_inputs(
    nodes: fx.Graph, known: dict[fx.Node, Any], others: dict[fx.Node, Tensor]
) -> CapturedGraph:
    """Replace all that is known by inputs, in front of the others that the graph has."""
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
    return CapturedGraph(fx.GraphModule({}, nodes), [*tensors, *others.values()])
