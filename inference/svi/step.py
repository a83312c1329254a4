"""One step of SVI: a batch in, the parameters updated, the batch's ELBO out."""

import math

import torch
from torch import Tensor
from torch.optim import Optimizer

from pyro_vae.checkpoint import OBJECTIVE_PREFIX
from pyro_vae.data import Batch
from pyro_vae.errors import InputError
from pyro_vae.inference.objectives import Objective
from pyro_vae.inference.svi.engine import Engine
from pyro_vae.inference.svi.optimizer_update import Update
from pyro_vae.inference.svi.step_errors import STABLER, explain, first_not_finite
from pyro_vae.program.generators import RngState, set_rng_state


class Step:
    """Update the parameters by one step of an optimizer along a batch's gradient."""

    def __init__(self, engine: Engine, optimizer: Optimizer, clip_norm: float | None) -> None:
        self.engine, self.optimizer, self.clip_norm = engine, optimizer, clip_norm
        self.loss, self.parameters = engine.eager.loss, engine.eager.parameters
        self.update = Update(optimizer)
        elbo = self.loss.elbo
        self.own_steps = elbo.own_steps if isinstance(elbo, Objective) else 1

    def __call__(
        self,
        batch: Batch,
        beta: float = 1.0,
        before: RngState | None = None,
        number: int = 1,
    ) -> Tensor:
        """Take one step, and return the ELBO per unit before it.

        With the generators' state ``before``, a loss that is not finite stops here, before it reaches the
        parameters, and the same noise explains it; the host then waits for the device. By its ``number``,
        from 1 on, a step may be one of those that only what the objective learns itself takes.

        Raises:
            InputError: the program fails on this batch, or its loss is not finite; it names the site.
        """
        loss = self._gradient(self.engine, batch, beta, before)
        if before is not None and not _is_finite(loss):
            if self.engine is not self.engine.eager:  # the same noise again, to find the site
                set_rng_state(before)
                loss = self._gradient(self.engine.eager, batch, beta, before)
            if not _is_finite(loss):
                set_rng_state(before)
                raise first_not_finite(self.loss.program, batch) or InputError(
                    "the loss is not finite", subject="loss", remedy=STABLER
                )
        if number % self.own_steps:
            for name, parameter in self.parameters.items():
                if not name.startswith(OBJECTIVE_PREFIX):
                    parameter.grad = None  # which an optimizer leaves out
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(list(self.parameters.values()), self.clip_norm)
        self.update()
        return -loss

    def _gradient(
        self, engine: Engine, batch: Batch, beta: float, before: RngState | None
    ) -> Tensor:
        """Call an engine; an error is explained by running the program again with the same noise."""
        try:
            return engine(batch, beta)
        except NotImplementedError as error:
            kind = type(self.loss.elbo).__name__
            raise InputError(f"{kind} cannot be used here: {error}", subject=kind) from error
        except Exception as error:  # one of Pyro's or torch's checks, or of the user's own code
            if before is not None:
                set_rng_state(before)
            raise explain(self.loss, batch, error) from error


def _is_finite(loss: Tensor) -> bool:
    return math.isfinite(loss.item())
