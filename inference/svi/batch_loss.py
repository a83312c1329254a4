"""The loss of a batch: minus an ELBO per unit."""

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pyro_vae.data import Batch
from pyro_vae.inference.objectives import Tempered, TraceELBO
from pyro_vae.inference.objectives.objective import Scheduled
from pyro_vae.inference.svi.minibatching import Minibatching
from pyro_vae.program.examination import Examination


class BatchLoss:
    """Compute minus the ELBO of a batch, divided by the number of units that it stands for.

    So a learning rate or a clipping norm means the same at every batch size.
    """

    def __init__(self, examined: Examination, minibatching: Minibatching, elbo: Any) -> None:
        self.program, self.structure = examined.program, examined.structure
        self.minibatching = minibatching
        self.elbo = elbo = copy.copy(elbo)  # the user's own object does not change
        if not isinstance(getattr(elbo, "max_plate_nesting", 0), int):
            # Pyro would run the program once more to find it out
            in_a_plate = elbo.vectorize_particles and elbo.num_particles > 1
            elbo.max_plate_nesting = self.structure.max_plate_nesting + in_a_plate

    def __call__(self, batch: Batch, beta: float | Tensor = 1.0) -> Tensor:
        """Return the loss with the KL term weighted by ``beta``, in nats, shape ``|``.

        For an objective with a scheduled number of its own, ``beta`` is that number.
        """
        elbo, model, guide = self.terms(batch, beta)
        elbo = TraceELBO() if self.elbo_goes_backward else elbo
        return elbo.differentiable_loss(model, guide, *batch) / self.num_units(batch)

    @property
    def elbo_goes_backward(self) -> bool:
        """Return whether the ELBO computes gradients itself, as RenyiELBO and TraceGraph_ELBO do."""
        return not hasattr(self.elbo, "differentiable_loss")

    def terms(
        self, batch: Batch, beta: float | Tensor
    ) -> tuple[Any, Callable[..., Any], Callable[..., Any]]:
        """Return ELBO, model and guide, with the KL term weighted and the batch scaled to all rows."""
        program = self.minibatching.scaled(self.program, batch)
        model, guide = program.model, program.guide
        if isinstance(self.elbo, Scheduled):
            return self.elbo.at(beta), model, guide
        if not isinstance(beta, Tensor) and beta == 1:  # a tensor's value is not read
            return self.elbo, model, guide
        return self.elbo, Tempered(beta)(model), Tempered(beta)(guide)

    def num_units(self, batch: Batch) -> int:
        """Return how many units the ELBO of a batch stands for."""
        if self.minibatching.is_joint or not batch:
            return self.structure.size
        return self.structure.units_of(len(batch[0]))
