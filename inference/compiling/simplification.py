"""What need not be done at every run of a graph."""

import operator
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeGuard

import torch
from torch import SymInt, Tag, Tensor, fx
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves

from pyro_vae.inference.compiling.constants import is_constant, is_view, written_nodes
from pyro_vae.inference.compiling.fx_capture import CapturedGraph
from pyro_vae.inference.compiling.onednn import use_onednn

aten = torch.ops.aten
LIKE = (
    aten.full_like.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.new_full.default,
    aten.new_zeros.default,
    aten.new_ones.default,
)  # these read the layout of a tensor, and none of its values
RESHAPES = (aten.view.default, aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.default)
BY_ONE = (
    aten.pow.Tensor_Scalar,
    aten.mul.Tensor,
    aten.mul.Scalar,
    aten.div.Tensor,
    aten.div.Scalar,
)  # these return their tensor, if the number is 1
SMALL = 1_000  # numbers; Inductor makes larger constants faster than it reads them


def optimize(graph: CapturedGraph) -> CapturedGraph:
    """Simplify a graph whose own tensors never change, and use oneDNN's products."""
    simple = simplified(graph, all_fixed=True)
    use_onednn(simple.module)
    return simple


def simplified(graph: CapturedGraph, all_fixed: bool = False) -> CapturedGraph:
    """Return a graph without what each run repeats, or has in common with all others.

    A distribution is made anew in model, guide and density, and autograd undoes views one by one: of a
    small program's operations these are a third, and each takes some microseconds.

    Args:
        graph: the operations; it is changed, too.
        all_fixed: whether the graph's own tensors never change. Otherwise they are parameters and buffers,
            but for those that tracing made.
    """
    _shorten_views(graph.module.graph)
    _merge_equal(graph)
    return _fold_constants(graph, all_fixed)


def _shorten_views(graph: fx.Graph) -> None:
    """Remove views that lead back to a tensor, and views that the next one can do without."""
    for node in list(graph.nodes):
        out = node.meta.get("val")
        if not _is_certain_view(node) or not _has_fixed_layout(out) or _is_reshaped_later(node):
            continue
        for source in _seen_by(node):
            like = source.meta.get("val")
            if _has_fixed_layout(like) and _placement(out) == _placement(like):
                node.replace_all_uses_with(source)
                graph.erase_node(node)
                break
        else:
            _skip_reshapes(node)
    graph.eliminate_dead_code()


def _seen_by(node: fx.Node) -> Iterator[fx.Node]:
    """Yield what a node is a view of, step by step."""
    while _is_certain_view(node) or node.target is operator.getitem:
        (node, *_) = node.all_input_nodes
        yield node


def _is_reshaped_later(node: fx.Node) -> bool:
    """Return whether an operation such as ``unsqueeze_`` gives the view another shape in place."""
    targets = [user.target for user in node.users]
    return any(isinstance(t, OpOverload) and Tag.inplace_view in t.tags for t in targets)


def _has_fixed_layout(x: Any) -> TypeGuard[Tensor]:
    """Return whether a value is a tensor whose size does not depend on data."""
    if not isinstance(x, Tensor):
        return False
    return not any(isinstance(n, SymInt) for n in (*x.shape, *x.stride(), x.storage_offset()))


def _is_certain_view(node: fx.Node) -> bool:
    is_view = isinstance(node.target, OpOverload) and node.target.is_view
    return is_view and node.target is not aten.reshape.default  # which may copy


def _skip_reshapes(node: fx.Node) -> None:
    """Let a view with other dimensions take the tensor before other such views."""
    (source, *_), out = node.all_input_nodes, node.meta["val"]
    if node.target not in RESHAPES or source.target not in RESHAPES:
        return
    (first, *_) = source.all_input_nodes
    if not _has_fixed_layout(first.meta.get("val")):
        return
    with suppress(RuntimeError):
        if _placement(first.meta["val"].view(out.shape)) == _placement(out):
            node.target, node.args, node.kwargs = aten.view.default, (first, list(out.shape)), {}


def _merge_equal(graph: CapturedGraph) -> None:
    """Merge operations of the same tensors, and those that change nothing, with what they repeat.

    Memory that something writes to, here or later, stays apart.
    """
    written, nodes = _not_ours(graph), graph.module.graph
    first: dict[Any, fx.Node] = {}
    for node in list(nodes.nodes):
        if is_view(node) and not written.isdisjoint(node.all_input_nodes):
            written.add(node)
        needed = {node, *node.all_input_nodes}
        if not is_constant(node) or not written.isdisjoint(needed):
            continue
        # in words, since 0, -0 and False are equal, and lists have no hash
        key = node.target, repr(node.args), repr(node.kwargs)
        same = first.get(key) or _copied_by(node)
        if same is None or same in written:
            first[key] = node
        else:
            node.replace_all_uses_with(same)
            nodes.erase_node(node)


def _copied_by(node: fx.Node) -> fx.Node | None:
    """Return the node whose values an operation returns as they are, if there is one."""
    if len(node.all_input_nodes) != 1:
        return None
    (same,) = node.all_input_nodes
    if node.target is aten.neg.default and same.target is aten.neg.default:
        (same,) = same.all_input_nodes
    elif node.target is aten.cat.default:
        if node.args[0] != [same]:
            return None
    elif node.target not in BY_ONE or node.args[1] != 1:
        return None
    like, out = same.meta.get("val"), node.meta.get("val")
    if not (_has_fixed_layout(like) and _has_fixed_layout(out)) or _layout(like) != _layout(out):
        return None
    return None if like.is_complex() else same  # times 1, an infinite part makes the other NaN


def _not_ours(graph: CapturedGraph) -> set[fx.Node]:
    """Return the nodes whose memory something writes to.

    Whoever gets the graph's results may, so none of them may share memory with another.
    """
    nodes = graph.module.graph
    results = nodes.output_node().all_input_nodes
    written = {*written_nodes(nodes), *(source for node in results for source in _memory_of(node))}
    address = {node: x.untyped_storage().data_ptr() for node, x in _owned(graph).items()}
    taken = {address[node] for node in written if node in address}
    return written | {node for node in address if address[node] in taken}


def _owned(graph: CapturedGraph) -> dict[fx.Node, Tensor]:
    """Return the inputs that are the graph's own tensors."""
    inputs = [node for node in graph.module.graph.nodes if node.op == "placeholder"]
    return dict(zip(inputs, graph.tensors, strict=False))


def _memory_of(node: fx.Node) -> Iterator[fx.Node]:
    """Yield a node, and those that it is a view of."""
    yield node
    while is_view(node):
        (node, *_) = node.all_input_nodes
        yield node


def _placement(x: Tensor) -> Any:
    return x.storage_offset(), _layout(x)


def _layout(x: Tensor) -> Any:
    return x.shape, x.stride(), x.dtype, x.is_conj(), x.is_neg()


def _fold_constants(graph: CapturedGraph, all_fixed: bool) -> CapturedGraph:
    """Compute in advance what depends on constants alone."""
    nodes, owned, changing = graph.module.graph, _owned(graph), _not_ours(graph)
    inputs = [node.meta["val"] for node in nodes.nodes if node.op == "placeholder"]
    devices = {x.device for x in inputs if isinstance(x, Tensor)}
    devices = {device for device in devices if device.type != "cpu"} or devices
    known: dict[fx.Node, Any] = {}
    if all_fixed:
        known |= {n: tensor for n, tensor in owned.items() if n not in changing}
    for node in nodes.nodes:
        if node.op != "call_function" or node in changing or not is_constant(node):
            continue
        if not _is_small(node) and (not all_fixed or node.target in LIKE):
            continue
        if not all_fixed and not _lies_on(devices, node):  # Inductor moves it there
            continue
        made = {n: x for n, x in _made_by_tracing(node, owned).items() if n not in changing}
        values = made | {n: known[n] for n in node.all_input_nodes if n in known}
        if values.keys() >= set(node.all_input_nodes):
            args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
            with torch.no_grad():
                known[node] = node.target(*args, **kwargs)
    tensors = _with_inputs(nodes, known)
    others = [tensor for node, tensor in owned.items() if node not in known]
    return replace(graph, module=fx.GraphModule({}, nodes), tensors=[*tensors, *others])


def _made_by_tracing(node: fx.Node, owned: dict[fx.Node, Tensor]) -> dict[fx.Node, Tensor]:
    """Return the values of a node's inputs, where it takes constants in its code, or reads no values."""
    if len(node.all_input_nodes) != 1:
        return {}
    (source,) = node.all_input_nodes
    if node.target is aten.lift_fresh_copy.default and source in owned:
        # others' memory, such as an array's, cannot be resized
        is_traced = owned[source].untyped_storage().resizable()
        return {source: owned[source]} if is_traced else {}
    like = source.meta.get("val")
    if node.target in LIKE and _has_fixed_layout(like):
        like = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device)
        return {source: like}
    return {}


def _is_small(node: fx.Node) -> bool:
    outs = [x for x in tree_leaves(node.meta.get("val")) if isinstance(x, Tensor)]
    return all(map(_has_fixed_layout, outs)) and sum(out.numel() for out in outs) <= SMALL


def _lies_on(devices: set[torch.device], node: fx.Node) -> bool:
    outs = [x for x in tree_leaves(node.meta.get("val")) if isinstance(x, Tensor)]
    return all(out.device in devices for out in outs)


def _with_inputs(graph: fx.Graph, known: dict[fx.Node, Any]) -> list[Tensor]:
    """Replace all that is known by inputs in front of the others; return their values."""
    start = next(iter(graph.nodes))
    tensors: list[Tensor] = []
    for node, value in known.items():
        users = [user for user in node.users if user not in known]
        if users:
            with graph.inserting_before(start):
                new = graph.placeholder(f"known{len(tensors)}")
            new.meta = {"val": value}
            tensors.append(value)
            for user in users:
                user.replace_input_with(node, new)
    for node in reversed(known):
        graph.erase_node(node)
    return tensors
