"""What the checks have in common: a program on a few rows, its traces, its loss, its tensors."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae import checkpoint
from pyro_vae.data import Batches
from pyro_vae.errors import InputError
from pyro_vae.inference.checks.independence import Traces
from pyro_vae.inference.evidence.example import EXAMPLE_ROWS, bind_example
from pyro_vae.inference.objectives import default_elbo
from pyro_vae.inference.svi.fit import ADAM
from pyro_vae.inference.svi.rows import Rows
from pyro_vae.inference.svi.step import Step
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import as_found
from pyro_vae.program.parameters import named_parameters, stored_parameters
from pyro_vae.program.probe import moves
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import run

Batch = tuple[Tensor, ...]
STEPS = 3  # of the optimizer; a network that ends in zeros passes no gradient on in the first


class NotApplicable(Exception):
    """Why a check says nothing of this program, or not here."""


@dataclass(frozen=True)
class Case:
    """A program and its data, as a check gets them: in eval mode, all that it changes taken back.

    Attributes:
        program: the model and guide.
        rows: all data, on the device.
        unit: the plate to give figures for, or None for the outermost.
        num_particles: K, for what is estimated.
        seed: of what is drawn; the generators have been set to it.
    """

    program: Program
    rows: Batches
    unit: str | None
    num_particles: int
    seed: int

    @cached_property
    def call(self) -> BoundProgram:
        """The program on the first few rows, or on all where it takes no fewer.

        :raises InputError: it does not run.
        """
        found = as_found(self.program.modules, self.program.model, self.program.guide)
        with torch.no_grad():
            call = bind_example(self.program, self.rows, self.unit, found)
            with pyro.validation_enabled(False):
                return call.settled()

    @property
    def structure(self) -> Structure:
        return self.call.structure

    @cached_property
    def args(self) -> Batch:
        """The arguments of that call; of a program that does not run, the first few rows."""
        with suppress(InputError):
            return self.call.args
        return self.fresh(min(EXAMPLE_ROWS, self.rows.num_units))

    def fresh(self, count: int) -> Batch:
        """The first rows of the data once more, whatever the program has done to ``args``."""
        (args,) = self.rows.take(torch.arange(count), count)
        return tuple(arg.clone() for arg in args)

    @cached_property
    def stored(self) -> dict[str, Tensor]:
        """Parameters in Pyro's store."""
        return stored_parameters(self.program, *self.args, seed=self.seed)

    @cached_property
    def parameters(self) -> dict[str, Tensor]:
        """All that can be trained, by name."""
        every = {**named_parameters(self.program), **self.stored}
        return {name: p for name, p in every.items() if p.requires_grad}

    @cached_property
    def learnt(self) -> dict[str, Tensor]:
        """What a checkpoint holds, by name: parameters and buffers."""
        return checkpoint.tensors_of(self.program, self.stored)

    def traces(self, given: poutine.Trace | None = None, args: Batch | None = None) -> Traces:
        """One run of guide and model, or one at ``given`` draws."""
        args, program = self.args if args is None else args, self.program
        with torch.no_grad():
            guide = program.guide if given is None else poutine.replay(program.guide, given)
            guide_trace = run("guide", guide, args, {})
            model = poutine.replay(program.model, given or guide_trace)
            return Traces(guide_trace, run("model", model, args, {}))

    @cached_property
    def elbo(self) -> Any:  # Pyro's base class declares no methods
        """The ELBO to train by: one that sums discrete latents out where some are marked for it."""
        return self.elbo_of(1)

    def elbo_of(self, particles: int) -> Any:
        """The same, of some draws made together."""
        return default_elbo(self.structure, particles)

    def loss(self, elbo: Any = None) -> Tensor:
        """Minus the ELBO per unit as ``fit`` has it, by one draw or by ``elbo``, ``|``."""
        program, units = self.call.program, self.structure.units_of(len(self.args[0]))
        elbo = elbo or self.elbo
        return elbo.differentiable_loss(program.model, program.guide, *self.args) / units

    def step(self) -> Step:
        """:raises NotApplicable: there is nothing to train."""
        if not self.parameters:
            raise NotApplicable("it has no parameters")
        examined = self.call.examined
        assert examined is not None  # the first call of a program is one that showed it
        count = len(self.args[0])
        return Step(examined, Rows(count, count, True), self.parameters, self.elbo, ADAM, None)

    @contextmanager
    def training(self) -> Iterator[None]:
        """The modules in train mode."""
        modules = [m for root in self.program.modules.values() for m in root.modules()]
        modes = [module.training for module in modules]
        try:
            for root in self.program.modules.values():
                root.train()
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode


@contextmanager
def taken_back(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Gives tensors the values and gradients that they had."""
    before = [(tensor, tensor.detach().clone(), tensor.grad) for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value, gradient in before:
                tensor.copy_(value)
                tensor.grad = gradient


def difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> tuple[str, float] | None:
    """The first site whose score is another one, and by how many nats; a missing one counts 0.

    >>> difference({"a": torch.zeros(2)}, {"a": torch.tensor([0.0, 3.0])})
    ('a', 3.0)
    """
    for name in [*one, *(name for name in other if name not in one)]:
        zero = torch.zeros(())
        a, b = torch.broadcast_tensors(one.get(name, zero), other.get(name, zero).to(zero.device))
        if bool(moves(a.cpu(), b.cpu()).any()):
            off = (a.cpu() - b.cpu()).abs()
            finite = off[off.isfinite()]
            return name, float(finite.max()) if len(finite) else float("inf")
    return None
