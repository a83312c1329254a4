"""The parameters of a program, and the network that each belongs to.

A network is a module whose ``forward`` the program calls, the outermost of those. A parameter that the
program reads directly stands alone.
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

# Their content is drawn item by item: the container says nothing.
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
    """Hold one network, or one parameter outside of networks."""

    name: str
    kind: str  # the network's class, or "Parameter"
    count: int  # of its numbers
    shape: tuple[int, ...] | None  # of a single parameter
    constraint: str | None = None


@dataclass(frozen=True)
class _Parameter:
    path: str
    tensor: Tensor
    owners: tuple[tuple[str, nn.Module], ...]  # from the root's child down to the holder


class Networks:
    """Collect the modules of a program: first those with a name, then others as it calls them."""

    def __init__(
        self,
        roots: Mapping[str, nn.Module],
        function: Callable[..., Any],
        is_computed: Callable[[Tensor], bool],
    ) -> None:
        """``is_computed``: whether the program draws or computes a weight: then it is not learnt."""
        self.parameters: dict[int, _Parameter] = {}
        modules = [(name, m) for name, m in reached(function) if isinstance(m, nn.Module)]
        owners = [module for name, module in modules if not name]
        self._roots = tuple({id(m): m for m in (*roots.values(), *owners)}.values())
        self._closed_over = [(name, module) for name, module in modules if name]
        self.prefixes = tuple(f"{type(root).__name__}." for root in self._roots)
        self.registered: dict[int, str] = {}  # names by `pyro.param`, by storage
        self._is_computed = is_computed
        self._computed: set[tuple[int, str]] = set()  # holder and name of such weights
        self._called: set[int] = set()
        self._programs = {id(unwrapped(function))}  # modules with statements inside
        self._running: list[nn.Module] = []
        self.refresh()

    def add(self, name: str, module: nn.Module) -> None:
        """Add a module's parameters under ``name``; those that have a name keep it."""
        for path, holder in module.named_modules(prefix=name):
            owners = tuple(_owners(module, name, path))
            for key, tensor in holder.named_parameters(recurse=False):
                if is_lazy(tensor):
                    raise InputError(
                        f"{path}.{key} has no shape yet",
                        subject=f"{path}.{key}",
                        remedy="run the program once on a batch, then draw it",
                    )
                if self._is_computed(tensor):
                    self._computed.add((id(holder), key))
                    continue
                parameter = _Parameter(f"{path}.{key}", tensor, owners)
                self.parameters.setdefault(storage_of(tensor)[0], parameter)

    def refresh(self) -> None:
        """Add parameters that the program's modules have made since, as Pyro's autoguides do.

        Such a name replaces the one that a parameter had when it was first used.
        """
        former, self.parameters = self.parameters, {}
        for root in self._roots:
            for name, child in root.named_children():
                self.add(name, child)
            for key, tensor in root.named_parameters(recurse=False):
                if not is_lazy(tensor):
                    self.parameters.setdefault(storage_of(tensor)[0], _Parameter(key, tensor, ()))
        for name, module in self._closed_over:
            self.add(name, module)
        self.parameters |= {key: former[key] for key in former.keys() - self.parameters.keys()}

    @contextmanager
    def watching(self, on_new: Callable[[Tensor], None]) -> Iterator[None]:
        """Note which modules are called, and pass parameters that are new to ``on_new``."""

        def enter(module: nn.Module, _: Any) -> None:
            self._running.append(module)
            self._called.add(id(module))
            before = set(self.parameters)
            if any(storage_of(p)[0] not in before for p in module.parameters() if not is_lazy(p)):
                self.add(self._name_of(module), module)
            for key in self.parameters.keys() - before:
                on_new(self.parameters[key].tensor)

        def leave(module: nn.Module, *_: Any) -> None:
            while self._running and self._running.pop() is not module:
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
            self._running.clear()

    def _name_of(self, module: nn.Module) -> str:
        """Return the name that ``pyro.module`` gave a module, or its class."""
        for path, tensor in module.named_parameters():
            known = self.registered.get(storage_of(tensor)[0])
            if known and known.endswith(f".{path}"):
                return known.removesuffix(f".{path}")
        return type(module).__name__

    def without_prefix(self, name: str) -> str:
        """Return the name of a PyroModule's parameter without the class of the program."""
        prefix = next((p for p in self.prefixes if name.startswith(p)), "")
        return name.removeprefix(prefix)

    def note_statement(self) -> None:
        """Note that the modules which run now contain a statement: they are programs, not networks."""
        self._programs |= {id(module) for module in self._running}

    def boxes(self) -> dict[str, ParameterBox]:
        """Return each parameter's box, by its storage's address."""
        self.refresh()
        called = self._called - self._programs
        boxes = {}
        for key, parameter in self.parameters.items():
            owners = parameter.owners
            network = next(
                ((name, m) for name, m in owners if id(m) in called or _is_flow(m)), None
            )
            outer = owners[0][1] if owners else None
            if network is None and outer is not None and self._is_one_network(outer, called):
                network = owners[0]
            boxes[str(key)] = _single(parameter) if network is None else self._network(*network)
        return boxes

    def _is_one_network(self, module: nn.Module, called: set[int]) -> bool:
        """Return whether a module is one network, although the program reads its parameters by hand."""
        is_program = id(module) in self._programs or any(id(m) in called for m in module.modules())
        return not is_program and type(module).__name__ not in CONTAINERS

    def _network(self, name: str, module: nn.Module) -> ParameterBox:
        learnt = {
            id(tensor): tensor.numel()
            for holder in module.modules()
            for key, tensor in holder.named_parameters(recurse=False)
            if (id(holder), key) not in self._computed
        }
        return ParameterBox(name, type(module).__name__, sum(learnt.values()), None)


def _is_flow(module: nn.Module) -> bool:
    """Return whether a module is a transform: it is one network, whether or not the run computes it."""
    return isinstance(module, torch.distributions.Transform)


def _single(parameter: _Parameter) -> ParameterBox:
    name = parameter.path.removesuffix("_unconstrained")
    tensor = parameter.tensor
    return ParameterBox(name, "Parameter", tensor.numel(), tuple(tensor.shape))


def _owners(root: nn.Module, name: str, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Return every module from ``root`` (its path is ``name``) down to ``path``, each with its path."""
    yield name, root
    module = root
    for part in path[len(name) + 1 :].split(".") if len(path) > len(name) else []:
        module, name = getattr(module, part), f"{name}.{part}"
        yield name, module
