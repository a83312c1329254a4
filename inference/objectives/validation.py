"""By which figure a fit is judged on held-out data: a bound of the evidence, whatever is maximised."""

from typing import Any

from pyro_vae.inference.objectives.guide_draws import DrawPlan
from pyro_vae.inference.objectives.iwae import IWAE
from pyro_vae.inference.objectives.objective import Figure, Objective, figure_of
from pyro_vae.inference.objectives.trace_elbo import TraceELBO
from pyro_vae.program.structure import Structure


def validation_objective_of(elbo: Any) -> tuple[Any, Figure]:
    """The objective itself where it is a bound, else the ELBO; and which of the two words it is.

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
    """The ELBO of one draw, of what counts in the densities and nothing else."""
    objective = IWAE(num_particles=1)
    objective.plan = DrawPlan(structure, is_weighted=False)
    return objective
