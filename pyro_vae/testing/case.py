"""The case that all checks get: a program on a few rows, its traces, its loss, its tensors."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae import checkpoint
from pyro_vae.data import Batches
from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.example import EXAMPLE_ROWS, bind_example
from pyro_vae.inference.objectives import default_elbo
from pyro_vae.inference.svi.batch_loss import BatchLoss
from pyro_vae.inference.svi.engine import EagerEngine
from pyro_vae.inference.svi.minibatching import Minibatching
from pyro_vae.inference.svi.optimizer import ADAM, make_optimizer
from pyro_vae.inference.svi.step import Step
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import as_found
from pyro_vae.program.parameters import named_parameters, stored_parameters
from pyro_vae.program.probe import Traces, rerun
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import Site, run
from pyro_vae.program.vectorization import with_fastest_chains

Batch = tuple[Tensor, ...]
NUM_STEPS = 3  # a network that ends in zeros passes no gradient back in the first


class NotApplicable(Exception):
    """Say why a check does not apply to a program, or to this machine."""


@dataclass(frozen=True)
class Case:
    """Hold a program and its data for a check, in eval mode; whatever a check changes is restored.

    Attributes:
        program: the model and guide.
        rows: all data, on the device.
        unit: the plate to give figures for, or None for the outermost.
        num_particles: K of estimates.
        seed: seed of the draws; the generators have been set to it.
    """

    program: Program
    rows: Batches
    unit: str | None
    num_particles: int
    seed: int

    @cached_property
    def bound_program(self) -> BoundProgram:
        """The program bound to the first few rows, or to all if it takes no fewer.

        Raises:
            InputError: it does not run.
        """
        found = as_found(self.program.modules, self.program.model, self.program.guide)
        with torch.no_grad():
            bound_program = bind_example(self.program, self.rows, self.unit, found)
            with pyro.validation_enabled(False):
                return with_fastest_chains(bound_program)

    @property
    def structure(self) -> Structure:
        """The sites, plates and units on these rows."""
        return self.bound_program.structure

    @cached_property
    def args(self) -> Batch:
        """The arguments of the bound program; if it does not run, the first few rows."""
        with suppress(InputError):
            return self.bound_program.args
        return self.copy_rows(min(EXAMPLE_ROWS, self.rows.num_units))

    def copy_rows(self, count: int) -> Batch:
        """Return a copy of the first rows of the data, which no run of the program has changed."""
        (args,) = self.rows.take(torch.arange(count), count)
        return tuple(arg.clone() for arg in args)

    @cached_property
    def stored(self) -> dict[str, Tensor]:
        """The parameters in Pyro's store."""
        return stored_parameters(self.program, *self.args, seed=self.seed)

    @cached_property
    def parameters(self) -> dict[str, Tensor]:
        """All trainable parameters, by name."""
        every = {**named_parameters(self.program), **self.stored}
        return {name: p for name, p in every.items() if p.requires_grad}

    @cached_property
    def learnt(self) -> dict[str, Tensor]:
        """The tensors of a checkpoint, by name: parameters and buffers."""
        return checkpoint.learnt_tensors(self.program, self.stored)

    def traces(self, args: Batch | None = None) -> Traces:
        """Run guide and model once, of a program that may not have been examined yet."""
        args = self.args if args is None else args
        with torch.no_grad():
            guide = run("guide", self.program.guide, args, {})
            return Traces(guide, run("model", poutine.replay(self.program.model, guide), args, {}))

    def again(
        self,
        first: Traces,
        value: Callable[[Site], Tensor] = lambda site: site["value"],
        args: Batch | None = None,
    ) -> Traces:
        """Run guide and model again at draws made from those of another run, optionally on other data."""
        bound_program = self.bound_program.single()
        with torch.no_grad():
            return rerun(
                bound_program if args is None else replace(bound_program, args=args), first, value
            )

    @cached_property
    def elbo(self) -> Any:  # Pyro's base class declares no methods
        """The ELBO to train by, which sums out the discrete latents that are marked for it."""
        return self.elbo_of(1)

    def elbo_of(self, num_particles: int) -> Any:
        """Return that ELBO for some particles together."""
        return default_elbo(self.structure, num_particles)

    def loss(self, elbo: Any = None) -> Tensor:
        """Return minus the ELBO per unit, by one draw or by ``elbo``, ``|``."""
        program, units = self.bound_program.program, self.structure.units_of(len(self.args[0]))
        elbo = elbo or self.elbo
        return elbo.differentiable_loss(program.model, program.guide, *self.args) / units

    def step(self) -> Step:
        """Return one training step.

        Raises:
            NotApplicable: there is nothing to train.
        """
        self.require_parameters()
        examined = self.bound_program.examined
        assert examined is not None  # a program's first call has one
        count = len(self.args[0])
        loss = BatchLoss(examined, Minibatching(count, count, True), self.elbo)
        engine = EagerEngine(loss, self.parameters)
        return Step(engine, make_optimizer(ADAM, self.parameters), None)

    def train(self) -> None:
        """Take a few steps in train mode."""
        step = self.step()
        with self.train_mode():
            for _ in range(NUM_STEPS):
                step(self.args)

    def require_parameters(self) -> None:
        if not self.parameters:
            raise NotApplicable("it has no parameters")

    @contextmanager
    def train_mode(self) -> Iterator[None]:
        """Set the modules to train mode within the block."""
        modules = [m for root in self.program.modules.values() for m in root.modules()]
        modes = [module.training for module in modules]
        try:
            for root in self.program.modules.values():
                root.train()
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
