"""The objective for held-out data: a bound of the evidence, whatever a fit maximises."""

from typing import Any

from pyro_vae.inference.objectives.guide_draws import DrawPlan
from pyro_vae.inference.objectives.iwae import IWAE
from pyro_vae.inference.objectives.objective import FigureKind, Objective, figure_of
from pyro_vae.inference.objectives.trace_elbo import TraceELBO
from pyro_vae.program.structure import Structure


def validation_objective_of(elbo: Any) -> tuple[Any, FigureKind]:
    """Return the objective itself if it is a bound, or else the ELBO; and the kind of figure.

    >>> validation_objective_of(IWAE(4))[1]
    'bound'
    """
    figure = figure_of(elbo)
    if figure != "objective":
        return elbo, figure
    if not isinstance(elbo, Objective):
        return TraceELBO(), "elbo"
    objective = elbo_of_draws(elbo.plan.structure) if elbo.plan else IWAE(num_particles=1)
    return objective, "elbo"


def elbo_of_draws(structure: Structure) -> Objective:
    """Return the ELBO of one draw, without the weights that sites have beyond their plates."""
    objective = IWAE(num_particles=1)
    objective.plan = DrawPlan(structure, is_weighted=False)
    return objective
