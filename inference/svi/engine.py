"""How the gradient of a batch's loss is computed: one interface, in Python or compiled."""

import abc
from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vae.data import Batch
from pyro_vae.inference.compiling.precision import Precision, multiplying_in
from pyro_vae.inference.svi.batch_loss import BatchLoss
from pyro_vae.inference.svi.optimizer_update import in_memory_of_their_own


class Engine(abc.ABC):
    """Compute a batch's loss, and leave its gradient in the parameters.

    Attributes:
        eager: the engine that computes the same in Python, and can say why a loss is not finite.
    """

    eager: "EagerEngine"

    @abc.abstractmethod
    def __call__(self, batch: Batch, beta: float) -> Tensor:
        """Return minus the ELBO per unit, shape ``|``, in nats; NaN where a check of values failed."""

    def prepare(self) -> list[str]:
        """Do what is to be done before the first step, and return sentences about it."""
        return []


class EagerEngine(Engine):
    """Run the program and torch's autograd at every step."""

    def __init__(
        self, loss: BatchLoss, parameters: Mapping[str, Tensor], precision: Precision = "float32"
    ) -> None:
        self.loss, self.parameters, self.precision = loss, parameters, precision
        self.eager = self

    def __call__(self, batch: Batch, beta: float) -> Tensor:
        for parameter in self.parameters.values():
            parameter.grad = None
        with multiplying_in(self.precision):
            if self.loss.elbo_goes_backward:
                return self._by_elbo(batch, beta)
            loss = self.loss(batch, beta)
            if loss.requires_grad:
                loss.backward()
            self._separate_gradients()
            return loss.detach()

    def _separate_gradients(self) -> None:
        gradients = in_memory_of_their_own([p.grad for p in self.parameters.values()])
        for parameter, gradient in zip(self.parameters.values(), gradients, strict=True):
            parameter.grad = gradient

    def _by_elbo(self, batch: Batch, beta: float) -> Tensor:
        """Let the ELBO go backward; it sums over units."""
        num_units = self.loss.num_units(batch)
        elbo, *pair = self.loss.terms(batch, beta)
        loss = elbo.loss_and_grads(*map(_with_a_parameter, pair), *batch)
        for parameter in self.parameters.values():
            if parameter.grad is not None:
                parameter.grad = parameter.grad / num_units  # which may share memory with another
        # wake-sleep returns two losses: that of the model is the bound
        return torch.as_tensor((loss[0] if isinstance(loss, tuple) else loss) / num_units)


def _with_a_parameter(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let Pyro see a parameter: without one in the trace those ELBOs compute no gradient at all."""

    def registered(*args: Any) -> Any:
        pyro.param("_any", lambda: torch.zeros(()))
        return function(*args)

    return registered
