"""Running a program and leaving everything as it was.

No figure may depend on hidden state, and only training may change it: the generators, Pyro's param store,
train/eval modes, BatchNorm's buffers, validation flags, and the objects that a program reaches.
"""

import copyreg
import operator
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, nn

from pyro_vae import argument_checks as checks
from pyro_vae.program.closures import reached
from pyro_vae.program.contract import Program
from pyro_vae.program.generators import rng_state, set_rng_state
from pyro_vae.program.one_thread import in_one_thread
from pyro_vae.program.param_store import own_parameters

Undo = Callable[[], Any]
DEPTH = 4  # objects in objects
MANY = 1000  # the elements of a longer container are data
CONTAINERS = (list, dict, set, deque)
CODE = (type, ModuleType, FunctionType, MethodType)


def seed_all(seed: int) -> None:
    """Seed as ``pyro.set_rng_seed`` does, but quickly.

    While CUDA is not in use, torch records the whole stack of each call, which takes half a millisecond.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@in_one_thread
@contextmanager
def undisturbed(program: Program, seed: int | None = None) -> Iterator[None]:
    """Evaluate a program: its modules in eval mode, and all hidden state restored afterwards.

    Restored, also after an error: the generators, Pyro's param store, train/eval modes, buffers (BatchNorm
    statistics) and validation flags; also of modules that a plain function closes over.

    Args:
        program: the model and guide.
        seed: where the generators start, if given.
    """
    modes: dict[nn.Module, bool] = {}
    buffers: list[tuple[Tensor, int, Tensor]] = []
    thread = get_ident()

    def evaluate(module: nn.Module, _: Any = None) -> None:
        if module not in modes and get_ident() == thread:  # torch calls the hook in all threads
            modes[module] = module.training
            module.training = False
            buffers.extend((b, b._version, b.clone()) for b in module.buffers(recurse=False))

    generators, validation = rng_state(), pyro.settings.get()
    store = pyro.get_param_store()
    entries = store.get_state()
    hook = nn.modules.module.register_module_forward_pre_hook(evaluate)
    try:
        for module in modules_of(program):
            evaluate(module)
        if seed is not None:
            pyro.set_rng_seed(checks.seed("seed", seed))
        with own_parameters(program):
            yield
    finally:
        hook.remove()
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for buffer, version, value in buffers:
                if buffer._version != version:
                    buffer.copy_(value)
        store.clear()
        store.set_state(entries)
        pyro.settings.set(**{k: v for k, v in validation.items() if k.startswith("validate_")})
        set_rng_state(generators)


class as_found:
    """Remember the objects that a program reaches; leaving the context takes back what runs did to them.

    Remembered are the attributes of modules, of the objects that own model and guide, and of all objects
    that these functions reach, ``__slots__``, nested containers and random generators among them. The
    values of tensors are not, nor whether a module is in training: :func:`undisturbed` restores these.
    :meth:`restore` takes everything back at any time, except the generators.

    Args:
        modules: the program's modules, by name.
        functions: its model and guide.
    """

    def __init__(self, modules: Mapping[str, nn.Module], *functions: Any) -> None:
        reach = [thing for function in functions for _, thing in reached(function)]
        roots = [*modules.values(), *(thing for thing in reach if isinstance(thing, nn.Module))]
        parts = [part for root in roots for part in root.modules()]
        owners = [owner for function in functions for owner in owners_of(function)]
        self._undo: list[Undo] = []
        self._undo_draws: list[Undo] = []
        todo = deque((thing, DEPTH) for thing in (*parts, *owners, *reach))
        seen = set[int]()
        while todo:
            thing, depth = todo.popleft()
            if id(thing) in seen or isinstance(thing, (*CODE, Tensor)):
                continue
            seen.add(id(thing))
            self._undo_draws += undo_draws(thing)
            contents, slots = _contents(thing), _slots(thing)
            if slots:
                self._undo.append(partial(_set_slots, thing, slots))
            if isinstance(thing, nn.Module):
                self._undo.append(partial(_refill_module, thing, vars(thing).copy()))
            elif contents is not None:
                self._undo.append(partial(_refill, contents, contents.copy()))
            if depth and len(contents or ()) <= MANY:
                values = contents.values() if isinstance(contents, dict) else contents or ()
                todo += [(inner, depth - 1) for inner in (*values, *slots.values())]

    def restore(self) -> None:
        for undo in self._undo:
            undo()

    def __enter__(self) -> "as_found":
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()
        for undo in self._undo_draws:
            undo()


def _contents(thing: Any) -> Any:
    """Return the container that an object is, or that holds its attributes; None if there is none."""
    contents = thing if isinstance(thing, CONTAINERS) else getattr(thing, "__dict__", None)
    return contents if isinstance(contents, CONTAINERS) else None


def _refill(container: Any, contents: Any) -> None:
    """Put the contents of a container back, unless they are the same objects."""
    if isinstance(container, dict):
        same = all(name in container and container[name] is contents[name] for name in contents)
    else:
        same = all(map(operator.is_, container, contents)) and not isinstance(container, set)
    if not same or len(container) != len(contents):
        container.clear()
        (container.update if isinstance(container, dict | set) else container.extend)(contents)


def _refill_module(module: nn.Module, attributes: dict[str, Any]) -> None:
    _refill(module.__dict__, attributes | {"training": module.training})


def _slots(thing: Any) -> dict[str, Any]:
    """Return the attributes of an object in the ``__slots__`` of its classes, as pickle finds them."""
    names = copyreg._slotnames(type(thing))  # type: ignore[attr-defined]
    return {name: getattr(thing, name) for name in names if hasattr(thing, name)}


def _set_slots(thing: Any, values: Mapping[str, Any]) -> None:
    present = _slots(thing)
    for name in present.keys() - values.keys():
        object.__delattr__(thing, name)
    for name, value in values.items():
        if name not in present or present[name] is not value:
            object.__setattr__(thing, name, value)


def undo_draws(thing: Any) -> list[Undo]:
    """Return what sets a random generator back to its state, if an object is one."""
    if isinstance(thing, torch.Generator | np.random.RandomState):
        return [partial(thing.set_state, thing.get_state())]  # type: ignore[arg-type]
    if isinstance(thing, np.random.Generator):
        return [partial(setattr, thing.bit_generator, "state", thing.bit_generator.state)]
    if isinstance(thing, random.Random):
        return [partial(thing.setstate, thing.getstate())]
    return []


@contextmanager
def tensors_as_found(tensors: Iterable[Tensor], values: bool = True) -> Iterator[None]:
    """Restore tensors' values and gradients, and whether they require one, afterwards.

    Args:
        tensors: those to restore; lazy ones and those of inference mode are left out.
        values: whether the run computes on values: only then can it change a tensor's.
    """
    undo = [
        _undo_tensor(tensor, values)
        for tensor in {id(tensor): tensor for tensor in tensors}.values()
        if not nn.parameter.is_lazy(tensor) and not tensor.is_inference()
    ]
    try:
        yield
    finally:
        for each in undo:
            each()


def _undo_tensor(tensor: Tensor, values: bool) -> Undo:
    version, required = tensor._version, tensor.requires_grad
    value = tensor.detach().clone() if values else None
    gradient = tensor.grad if tensor.is_leaf else None
    of_gradient = None if gradient is None else gradient.clone()

    @torch.no_grad()
    def undo() -> None:
        if value is not None and (tensor._version != version or _differs(tensor, value)):
            tensor.copy_(value)
        if tensor.is_leaf:
            tensor.requires_grad_(required)
            tensor.grad = gradient
        if gradient is not None and of_gradient is not None:
            gradient.copy_(of_gradient)

    return undo


def _differs(tensor: Tensor, value: Tensor) -> bool:
    """Return whether a tensor was written to through ``.data``, which its version does not show."""
    return tensor.layout == torch.strided and not torch.equal(tensor, value)


def modules_of(program: Program) -> list[nn.Module]:
    """Return all modules that a program uses, also those that its functions close over, each once."""
    functions = (program.model, program.guide)
    held = (thing for function in functions for _, thing in reached(function))
    roots = [*program.modules.values(), *(thing for thing in held if isinstance(thing, nn.Module))]
    return [*{id(module): module for root in roots for module in root.modules()}.values()]


def owners_of(function: Any) -> Iterator[Any]:
    """Yield the objects of users' classes that a callable is, or is a method of."""
    while function is not None:
        own = getattr(
            function, "__self__", None if isinstance(function, FunctionType) else function
        )
        if own is not None and hasattr(own, "__dict__") and not isinstance(own, type | ModuleType):
            yield own
        function = getattr(function, "func", None) or getattr(function, "__wrapped__", None)
