"""The figures of a fit: what it maximises, and the bound that scores held-out data."""

from dataclasses import dataclass, replace
from typing import Any

import pyro
import torch

from pyro_vae.data import Batches
from pyro_vae.inference.objectives.objective import figure_of
from pyro_vae.inference.objectives.validation import elbo_of_draws, validation_objective_of
from pyro_vae.inference.svi.batch_loss import BatchLoss
from pyro_vae.inference.svi.minibatching import MAX_DEFAULT_BATCH_SIZE
from pyro_vae.inference.svi.step_errors import explain
from pyro_vae.program.isolation import undisturbed

SCORED_ROWS, MOST_PASSES = 20_000, 100  # with which the restarts of a fit are compared


@dataclass(frozen=True)
class Validation:
    """Score held-out data, or the training data, by a bound, with the same noise at every call.

    Where all rows share latents the guide is for the training rows, so held-out ones stand for as many as
    those are: alone they would be scored under a posterior that is not theirs.
    """

    objective: Any
    name: str  # of the figure
    batches: Batches
    loss: BatchLoss
    seed: int

    def __call__(self, check: bool) -> float:
        """Return the bound per unit, in nats; with ``check``, under Pyro's checks of values.

        Raises:
            InputError: the program fails on the held-out data.
        """
        minibatching, count, total = self.loss.minibatching, self.batches.num_units, 0.0
        rows = minibatching.batch_size
        if minibatching.is_joint or minibatching.is_positional:
            rows = max(rows, min(count, MAX_DEFAULT_BATCH_SIZE))
        program = self.loss.program
        with undisturbed(program, self.seed), pyro.validation_enabled(check):
            for batch in self.batches.take(torch.arange(count), rows):
                scaled = minibatching.scaled(program, batch)
                try:
                    loss = self.objective.loss(scaled.model, scaled.guide, *batch)
                except (
                    ValueError,
                    RuntimeError,
                    IndexError,
                ) as error:  # ours, Pyro's, torch's
                    explained = explain(self.loss, batch, error)
                    raise explained.at("in the validation data") from error
                total -= loss / self.loss.num_units(batch) * (len(batch[0]) if batch else 1)
        return total / count

    def common(self) -> float:
        """Return the bound per unit by draws that all fits have in common, many of few rows."""
        passes = min(MOST_PASSES, max(1, SCORED_ROWS // self.batches.num_units))
        figures = (replace(self, seed=seed)(check=False) for seed in range(passes))
        return sum(figures) / passes


def figures_of(loss: BatchLoss, is_elbo: bool) -> tuple[str, str, Any]:
    """Return the names of the training and the validation figure, and the objective for validation."""
    trained: str = figure_of(loss.elbo)
    validation, validated = validation_objective_of(loss.elbo)
    names = [trained, str(validated)]
    if not is_elbo:
        validation, names = elbo_of_draws(loss.structure), ["objective", "elbo"]
    if loss.structure.flat:  # there is no evidence that anything could bound
        names = ["objective", "objective"]
    return f"train_{names[0]}", f"validation_{names[1]}", validation
