"""What Python may ask of tensors while it is traced: what every run would answer in the same way."""

import operator
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tag, Tensor, fx
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import DataDependentOutputException
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

aten = torch.ops.aten
QUESTIONS = (aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default)


class Answers(TorchDispatchMode):
    """Answers `.item()`, `bool()`, an index and the like where a traced tensor is a constant.

    A constant comes from neither an argument, nor a parameter, nor noise, nor memory that the run has
    written to. What comes from these stays a symbol of the graph, or cannot be traced.

    Args:
        all_fixed: whether parameters stay as they are, too.
    """

    def __init__(self, all_fixed: bool) -> None:
        super().__init__()
        self.all_fixed = all_fixed
        self.given: list[Any] = []  # in the order of the questions
        self.open: Iterable[traceback.FrameSummary] = ()  # where a symbol was the last answer
        self.known: dict[fx.Node, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten.index.Tensor:
            args = (args[0], [place for index in args[1] for place in self.places(index)])
        elif Tag.dynamic_output_shape in func.tags:
            return self.sized(func, args, kwargs or {})
        if func not in QUESTIONS:
            return func(*args, **(kwargs or {}))
        values = [self.value(asked) for asked in args]
        if all(value is not None for value in values):
            with _disable_current_modes():
                self.given.append(func(*values))
            return self.given[-1]
        answer = func(*args)
        if isinstance(answer, bool | int | float | complex):  # what memory happens to hold
            raise DataDependentOutputException(func)
        self.open = traceback.extract_stack()
        return answer

    def sized(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What has as many entries as values say: always as many, where the values are constant."""
        asked = [x for x in tree_leaves(args) if isinstance(x, Tensor)]
        values = {id(x): self.value(x) for x in asked}
        if any(value is None for value in values.values()):
            return func(*args, **kwargs)
        with _disable_current_modes():
            found = func(*tree_map_only(Tensor, lambda x: values[id(x)], args), **kwargs)
        return tree_map_only(Tensor, aten.lift_fresh.default, found)

    def places(self, index: Any) -> Iterable[Any]:
        """An index, or where a mask that is constant is True: as many as there always are."""
        is_mask = isinstance(index, Tensor) and index.dtype == torch.bool
        mask = self.value(index) if is_mask else None
        if mask is None:
            return [index]
        with _disable_current_modes():
            found = mask.nonzero(as_tuple=True)
        return map(aten.lift_fresh.default, found)

    def value(self, asked: Tensor) -> Tensor | None:
        """A tensor's value, or None where another run may have another one."""
        tracer: Any = get_proxy_mode().tracer  # type: ignore[union-attr]
        if get_proxy_slot(asked, tracer, None) is None:  # it was not made in this run
            asked = asked.detach()
        node = get_proxy_slot(asked, tracer).proxy.node
        needed, changed = ancestors(node), set(written(tracer.graph))
        if not needed.isdisjoint(changed) or not all(map(is_constant, needed)):
            return None
        held, other = (tensors(nodes, tracer.root) for nodes in (needed, changed))
        is_trained = not self.all_fixed and any(x.requires_grad for x in held)
        if is_trained or share_memory(held, other):
            return None
        with _disable_current_modes(), torch.no_grad():
            for each in sorted(needed - self.known.keys()):
                self.known[each] = self.computed(each, tracer.root)
        value: Tensor = self.known[node]
        return value

    def computed(self, node: fx.Node, root: Any) -> Any:
        if node.op == "get_attr":
            return getattr(root, str(node.target))
        args, kwargs = fx.map_arg((node.args, node.kwargs), self.known.__getitem__)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    @property
    def held(self) -> list[Tensor]:
        """The tensors that answers depend on and the run has not made."""
        return [value for node, value in self.known.items() if node.op == "get_attr"]


def is_constant(node: fx.Node) -> bool:
    """...if all that it is computed from is constant."""
    if node.op == "get_attr" or node.target is operator.getitem:
        return True
    is_computed = isinstance(node.target, OpOverload) and node.target.namespace == "aten"
    return is_computed and not draws(node) and "empty" not in str(node.target)


def tensors(nodes: set[fx.Node], root: Any) -> list[Tensor]:
    """Those among the nodes that the run has not made."""
    held = [getattr(root, str(node.target)) for node in nodes if node.op == "get_attr"]
    return [x for x in held if isinstance(x, Tensor)]  # and not a generator


def share_memory(some: list[Tensor], others: list[Tensor]) -> bool:
    places = [{x.untyped_storage().data_ptr() for x in xs} for xs in (some, others)]
    return not places[0].isdisjoint(places[1])


def ancestors(node: fx.Node) -> set[fx.Node]:
    """What a node is computed from, itself among it."""
    found: set[fx.Node] = set()
    stack = [node]
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(node.all_input_nodes)
    return found


def written(graph: fx.Graph) -> Iterator[fx.Node]:
    """What an operation writes to, and what that is a view of."""
    for node in graph.nodes:
        if isinstance(node.target, OpOverload) and node.target._schema.is_mutable:
            yield node
            for source in node.all_input_nodes:
                yield source
                while is_view(source):
                    (source, *_) = source.all_input_nodes
                    yield source


def is_view(node: fx.Node) -> bool:
    if isinstance(node.target, OpOverload):
        return node.target.is_view
    return node.target is operator.getitem  # one of several views


def draws(node: fx.Node) -> bool:
    target = node.target
    return isinstance(target, OpOverload) and Tag.nondeterministic_seeded in target.tags
