"""Values of tensors that Python may read while it is traced, as they are the same in every run."""

import operator
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

import torch
from torch import Tag, Tensor, fx
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

from pyro_vae.user_code import Line, calls_within, program_line

aten = torch.ops.aten
# in training mode they update running statistics, which their schemas do not say
WRITE_UNSAID = (
    aten.native_batch_norm.default,
    aten.cudnn_batch_norm.default,
    aten.miopen_batch_norm.default,
)
READS = (aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default)


class ConstantReads(TorchDispatchMode):
    """Answer ``.item()``, ``bool()``, an index and the like where a traced tensor is constant.

    A constant comes from neither an argument, nor a parameter, nor noise, nor memory that the run has
    written to. Everything else stays a symbol of the graph, or cannot be traced.

    Args:
        all_fixed: whether parameters are constants, too.
        within: the function that runs the program.

    Attributes:
        values: the values that Python has read, in order.
        has_symbol: whether a read gave a symbol.
        symbol_line: the program's line of the last such read.
    """

    def __init__(self, all_fixed: bool, within: CodeType) -> None:
        super().__init__()
        self.all_fixed, self.within = all_fixed, within
        self.values: list[Any] = []
        self.has_symbol = False
        self.symbol_line: Line | None = None
        self._known: dict[fx.Node, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten.index.Tensor:
            args = (args[0], [i for index in args[1] for i in self._integer_indices(index)])
        elif Tag.dynamic_output_shape in func.tags:
            return self._of_dynamic_shape(func, args, kwargs or {})
        if func not in READS:
            return func(*args, **(kwargs or {}))
        values = [self._value(tensor) for tensor in args]
        if all(value is not None for value in values):
            with _disable_current_modes():
                self.values.append(func(*values))
            return self.values[-1]
        answer = func(*args)
        if isinstance(answer, bool | int | float | complex):  # what memory happens to hold
            raise DataDependentOutputException(func)
        self.has_symbol, self.symbol_line = True, program_line(calls_within(self.within))
        return answer

    def _of_dynamic_shape(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a function whose output's size depends on values; it is fixed if they are constant."""
        tensors = [x for x in tree_leaves(args) if isinstance(x, Tensor)]
        values = {id(x): self._value(x) for x in tensors}
        if any(value is None for value in values.values()):
            return func(*args, **kwargs)
        with _disable_current_modes():
            result = func(*tree_map_only(Tensor, lambda x: values[id(x)], args), **kwargs)
        return tree_map_only(Tensor, aten.lift_fresh.default, result)

    def _integer_indices(self, index: Any) -> Iterable[Any]:
        """Return an index as it is, or where a constant mask is True."""
        is_mask = isinstance(index, Tensor) and index.dtype == torch.bool
        mask = self._value(index) if is_mask else None
        if mask is None:
            return [index]
        with _disable_current_modes():
            indices = mask.nonzero(as_tuple=True)
        return map(aten.lift_fresh.default, indices)

    def _value(self, tensor: Tensor) -> Tensor | None:
        """Return a tensor's value, or None where another run may have another one."""
        from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot

        tracer: Any = get_proxy_mode().tracer  # type: ignore[union-attr]
        if get_proxy_slot(tensor, tracer, None) is None:  # it was not made in this run
            tensor = tensor.detach()
        node = get_proxy_slot(tensor, tracer).proxy.node
        needed, written = ancestors(node), set(written_nodes(tracer.graph))
        if not needed.isdisjoint(written) or not all(map(is_constant, needed)):
            return None
        read, changed = (_attribute_tensors(nodes, tracer.root) for nodes in (needed, written))
        is_trained = not self.all_fixed and any(x.requires_grad for x in read)
        if is_trained or share_memory(read, changed):
            return None
        with _disable_current_modes(), torch.no_grad():
            for each in sorted(needed - self._known.keys()):
                self._known[each] = self._compute(each, tracer.root)
        value: Tensor = self._known[node]
        return value

    def _compute(self, node: fx.Node, root: Any) -> Any:
        if node.op == "get_attr":
            return getattr(root, str(node.target))
        args, kwargs = fx.map_arg((node.args, node.kwargs), self._known.__getitem__)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    @property
    def sources(self) -> list[Tensor]:
        """Return the tensors from outside the run that the values depend on."""
        return [value for node, value in self._known.items() if node.op == "get_attr"]


def is_constant(node: fx.Node) -> bool:
    """Return whether a node's value is constant if its inputs are."""
    if node.op == "get_attr" or node.target is operator.getitem:
        return True
    is_computed = isinstance(node.target, OpOverload) and node.target.namespace == "aten"
    return is_computed and not is_random(node) and "empty" not in str(node.target)


def _attribute_tensors(nodes: set[fx.Node], root: Any) -> list[Tensor]:
    """Return the tensors among the nodes that come from outside the run."""
    values = [getattr(root, str(node.target)) for node in nodes if node.op == "get_attr"]
    return [x for x in values if isinstance(x, Tensor)]  # and not a generator


def share_memory(some: list[Tensor], others: list[Tensor]) -> bool:
    addresses = [{x.untyped_storage().data_ptr() for x in xs} for xs in (some, others)]
    return not addresses[0].isdisjoint(addresses[1])


def ancestors(node: fx.Node) -> set[fx.Node]:
    """Return the nodes that a node is computed from, itself included."""
    visited: set[fx.Node] = set()
    stack = [node]
    while stack:
        node = stack.pop()
        if node not in visited:
            visited.add(node)
            stack.extend(node.all_input_nodes)
    return visited


def written_nodes(graph: fx.Graph) -> Iterator[fx.Node]:
    """Yield the nodes that an operation writes to, and those whose views they are."""
    for node in graph.nodes:
        if _writes(node):
            yield node
            for source in node.all_input_nodes:
                yield source
                while is_view(source):
                    (source, *_) = source.all_input_nodes
                    yield source


def _writes(node: fx.Node) -> bool:
    target = node.target
    return isinstance(target, OpOverload) and (target._schema.is_mutable or target in WRITE_UNSAID)


def is_view(node: fx.Node) -> bool:
    """Return whether a node shares its input's memory, or may: "unsafe" views don't say so."""
    if isinstance(node.target, OpOverload):
        return node.target.is_view or "unsafe" in node.target.name()
    return node.target is operator.getitem  # one of several views


def is_random(node: fx.Node) -> bool:
    target = node.target
    return isinstance(target, OpOverload) and Tag.nondeterministic_seeded in target.tags
