"""Running a program without a trace left behind.

No figure may depend on hidden state, and no call that is not training may change it: the generators,
Pyro's param store, train/eval modes, BatchNorm's buffers, validation flags.
"""

import operator
import random
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from threading import get_ident
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.program.closures import reached
from pyro_vae.program.contract import Program
from pyro_vae.program.one_thread import in_one_thread


def rng_state() -> dict[str, Any]:
    """The state of every generator that a model may draw from."""
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if cuda else [],
        "numpy": np.random.get_state(),  # noqa: NPY002 - Pyro users draw from the global one
        "python": random.getstate(),
    }


def checked_seed(seed: int) -> int:
    """:raises InputError: a seed that not every generator takes."""
    try:
        number = operator.index(seed)
    except TypeError as error:
        raise InputError(f"seed must be a whole number, not {seed!r}") from error
    if not 0 <= number < 2**32:
        raise InputError(f"seed must be between 0 and 2**32 - 1, not {seed}")
    return number


def seed_all(seed: int) -> None:
    """``pyro.set_rng_seed``, for calls again and again.

    While CUDA is not in use, torch notes each call with its whole stack, which takes half a millisecond.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


def set_rng_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    random.setstate(state["python"])


@contextmanager
def own_parameters(program: Program) -> Iterator[None]:
    """Hides what other modules left in Pyro's param store under names that this program uses too.

    PyroModules and ``pyro.module`` prefer the store's parameter to the module's own, so a second
    model of the same class would silently work with the first one's. What the program itself
    registers stays.
    """
    if not program.modules:
        yield
        return
    store = pyro.get_param_store()
    own = {id(p) for module in program.modules.values() for p in module.parameters()}
    before = store.get_state()
    strangers = {
        name
        for name, value in before["params"].items()
        if isinstance(value, nn.Parameter) and id(value) not in own
    }
    forget(strangers)
    try:
        yield
    finally:
        after = store.get_state()
        store.clear()
        store.set_state(
            {
                "params": {**before["params"], **after["params"]},
                "constraints": {**before["constraints"], **after["constraints"]},
            }
        )


def forget(names: Collection[str]) -> None:
    """Takes parameters out of Pyro's store, where ``del`` raises if two names share one."""
    store = pyro.get_param_store()
    held = store.get_state()
    store.clear()
    store.set_state(
        {
            "params": {n: v for n, v in held["params"].items() if n not in names},
            "constraints": {n: v for n, v in held["constraints"].items() if n not in names},
        }
    )


@in_one_thread
@contextmanager
def undisturbed(program: Program, seed: int | None = None) -> Iterator[None]:
    """Evaluates ``program``: modules in eval mode, and all hidden state as it was afterwards.

    Restored, also after an error: the generators, Pyro's param store, train/eval modes, buffers
    (BatchNorm statistics) and validation flags; of modules that a plain function merely closes
    over, too. With ``seed`` the generators start from it.
    """
    modes: dict[nn.Module, bool] = {}
    buffers: list[tuple[Tensor, int, Tensor]] = []
    thread = get_ident()

    def evaluate(module: nn.Module, _: Any = None) -> None:
        if module not in modes and get_ident() == thread:  # torch calls the hook in all threads
            modes[module] = module.training
            module.training = False
            own = (b for b in module.buffers(recurse=False))
            buffers.extend((b, b._version, b.clone()) for b in own)

    generators, validation = rng_state(), pyro.settings.get()
    store = pyro.get_param_store()
    entries = store.get_state()
    hook = nn.modules.module.register_module_forward_pre_hook(evaluate)
    try:
        for module in modules_of(program):
            evaluate(module)
        if seed is not None:
            pyro.set_rng_seed(checked_seed(seed))
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
    """What a program's objects hold besides tensors, as it was found: an autoguide's prototype, say.

    But not whether a module is in training: :func:`undisturbed` says that. Leaving the context takes back
    what runs have added to modules and to the objects that own model and guide; :meth:`restore` does so at
    any time, as before a call of another size.
    """

    def __init__(self, modules: Mapping[str, nn.Module], *functions: Any) -> None:
        held = [thing for function in functions for _, thing in reached(function)]
        roots = [*modules.values(), *(thing for thing in held if isinstance(thing, nn.Module))]
        parts: dict[int, Any] = {id(part): part for root in roots for part in root.modules()}
        owners = (owner for function in functions for owner in owners_of(function))
        parts |= {id(owner): owner for owner in owners if id(owner) not in parts}
        self._before = [
            (part, dict(vars(part)), {n: v.copy() for n, v in vars(part).items() if _holds(v)})
            for part in parts.values()
        ]

    def restore(self) -> None:
        for part, state, contents in self._before:
            mode = {"training": part.training} if isinstance(part, nn.Module) else {}
            part.__dict__.clear()
            part.__dict__.update(state | mode)
            for name, content in contents.items():
                state[name].clear()
                (state[name].extend if isinstance(content, list) else state[name].update)(content)

    def __enter__(self) -> "as_found":
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()


def modules_of(program: Program) -> list[nn.Module]:
    """All modules that a program uses, also those that its functions close over, each once."""
    functions = (program.model, program.guide)
    held = (thing for function in functions for _, thing in reached(function))
    roots = [*program.modules.values(), *(thing for thing in held if isinstance(thing, nn.Module))]
    return [*{id(module): module for root in roots for module in root.modules()}.values()]


def owners_of(function: Any) -> Iterator[Any]:
    """The objects of people's own classes whose method a callable is, or that it itself is."""
    while function is not None:
        own = getattr(
            function, "__self__", None if isinstance(function, FunctionType) else function
        )
        if own is not None and hasattr(own, "__dict__") and not isinstance(own, type | ModuleType):
            yield own
        function = getattr(function, "func", None) or getattr(function, "__wrapped__", None)


def _holds(value: Any) -> bool:
    return isinstance(value, dict | list | set)
