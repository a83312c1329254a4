"""Which parameters a program has, and which network each belongs to.

A network is a module whose ``forward`` the program calls, the outermost one of those; parameters
that the program reads directly stand for themselves.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.nn.parameter import is_lazy

from pyro_vae.errors import InputError
from pyro_vae.graph.record.provenance import storage_of
from pyro_vae.program.closures import reached, unwrapped

# What these hold is drawn one by one: the container itself says nothing.
CONTAINERS = (
    "PyroModule",
    "PyroModuleList",
    "ModuleList",
    "ModuleDict",
    "ParameterList",
    "ParameterDict",
)


@dataclass(frozen=True)
class ParameterBox:
    """One network, or one parameter that no network holds."""

    name: str
    kind: str  # the network's class, or "Parameter"
    count: int  # numbers in it
    shape: tuple[int, ...] | None  # of a single parameter
    constraint: str | None = None


@dataclass(frozen=True)
class _Parameter:
    path: str
    tensor: Tensor
    owners: tuple[tuple[str, nn.Module], ...]  # from the root's child down to the holder


class Networks:
    """The modules that a program uses: known ones by name, further ones as they are called."""

    def __init__(
        self,
        roots: Mapping[str, nn.Module],
        function: Callable[..., Any],
        is_drawn: Callable[[Tensor], bool],
    ) -> None:
        """``is_drawn``: whether the program has computed a weight, so that it is no parameter."""
        self.found: dict[int, _Parameter] = {}
        modules = [(name, m) for name, m in reached(function) if isinstance(m, nn.Module)]
        owners = [module for name, module in modules if not name]
        self._roots = tuple({id(m): m for m in (*roots.values(), *owners)}.values())
        self._closed_over = [(name, module) for name, module in modules if name]
        self.prefixes = tuple(f"{type(root).__name__}." for root in self._roots)
        self.registered: dict[int, str] = {}  # names by `pyro.param`, by storage
        self._is_drawn = is_drawn
        self._drawn: set[tuple[int, str]] = set()  # holder and name of weights that were
        self._called: set[int] = set()
        self._programs = {id(unwrapped(function))}  # what makes statements is no network
        self._depth: list[nn.Module] = []
        self.refresh()

    def add(self, name: str, module: nn.Module) -> None:
        """Knows ``module`` by ``name`` from here on; its parameters that have a name keep it."""
        for path, holder in module.named_modules(prefix=name):
            owners = tuple(_owners(module, name, path))
            for key, tensor in holder.named_parameters(recurse=False):
                if is_lazy(tensor):
                    raise InputError(
                        f"{path}.{key} has no shape yet: run the program once on a batch, then draw it"
                    )
                if self._is_drawn(tensor):
                    self._drawn.add((id(holder), key))
                    continue
                found = _Parameter(f"{path}.{key}", tensor, owners)
                self.found.setdefault(storage_of(tensor)[0], found)

    def refresh(self) -> None:
        """Finds parameters that the program's own modules have made since (Pyro's autoguides do).

        A name that they have there comes before one by which a parameter was known when it was used.
        """
        used, self.found = self.found, {}
        for root in self._roots:
            for name, child in root.named_children():
                self.add(name, child)
            for key, tensor in root.named_parameters(recurse=False):
                if not is_lazy(tensor):
                    self.found.setdefault(storage_of(tensor)[0], _Parameter(key, tensor, ()))
        for name, module in self._closed_over:
            self.add(name, module)
        self.found |= {key: used[key] for key in used.keys() - self.found.keys()}

    @contextmanager
    def watched(self, on_new: Callable[[Tensor], None]) -> Iterator[None]:
        """Notes which modules are called; ``on_new`` hears of parameters not known before."""

        def enter(module: nn.Module, _: Any) -> None:
            self._depth.append(module)
            self._called.add(id(module))
            before = set(self.found)
            if any(storage_of(p)[0] not in before for p in module.parameters() if not is_lazy(p)):
                self.add(self._name(module), module)
            for key in self.found.keys() - before:
                on_new(self.found[key].tensor)

        def leave(module: nn.Module, *_: Any) -> None:
            while self._depth and self._depth.pop() is not module:
                pass

        hooks = [
            torch_module.register_module_forward_pre_hook(enter),
            torch_module.register_module_forward_hook(leave, always_call=True),
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            self._depth.clear()

    def _name(self, module: nn.Module) -> str:
        """What ``pyro.module`` calls it, else its class."""
        for path, tensor in module.named_parameters():
            known = self.registered.get(storage_of(tensor)[0])
            if known and known.endswith(f".{path}"):
                return known.removesuffix(f".{path}")
        return type(module).__name__

    def without_prefix(self, name: str) -> str:
        """A PyroModule's parameter without the name of the program's own class."""
        prefix = next((p for p in self.prefixes if name.startswith(p)), "")
        return name.removeprefix(prefix)

    def note_statement(self) -> None:
        """A statement is made: the modules that are running now are programs."""
        self._programs |= {id(module) for module in self._depth}

    def boxes(self) -> dict[str, ParameterBox]:
        """For each parameter, by its storage's address, the box that it is drawn in."""
        self.refresh()
        called = self._called - self._programs
        found = {}
        for key, parameter in self.found.items():
            owners = parameter.owners
            network = next(
                ((name, m) for name, m in owners if id(m) in called or _is_flow(m)), None
            )
            outer = owners[0][1] if owners else None
            if network is None and outer is not None and self._is_whole(outer, called):
                network = owners[0]
            found[str(key)] = _single(parameter) if network is None else self._network(*network)
        return found

    def _is_whole(self, module: nn.Module, called: set[int]) -> bool:
        """Whether what reads a module's parameters by hand takes it for one network."""
        is_program = id(module) in self._programs or any(id(m) in called for m in module.modules())
        return not is_program and type(module).__name__ not in CONTAINERS

    def _network(self, name: str, module: nn.Module) -> ParameterBox:
        learnt = {
            id(tensor): tensor.numel()
            for holder in module.modules()
            for key, tensor in holder.named_parameters(recurse=False)
            if (id(holder), key) not in self._drawn
        }
        return ParameterBox(name, type(module).__name__, sum(learnt.values()), None)


def _is_flow(module: nn.Module) -> bool:
    """A transform belongs together, whether or not the run has had to compute it."""
    return isinstance(module, torch.distributions.Transform)


def _single(parameter: _Parameter) -> ParameterBox:
    name = parameter.path.removesuffix("_unconstrained")
    tensor = parameter.tensor
    return ParameterBox(name, "Parameter", tensor.numel(), tuple(tensor.shape))


def _owners(root: nn.Module, name: str, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Every module on the way from ``root`` (called ``name``) to ``path``, with its own path."""
    yield name, root
    module = root
    for part in path[len(name) + 1 :].split(".") if len(path) > len(name) else []:
        module, name = getattr(module, part), f"{name}.{part}"
        yield name, module
