"""The guide's own draws."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.inference.evidence.draws import Drawer, DrawsPosterior, WeightedDraws
from pyro_vae.inference.evidence.method import Advance, Workload
from pyro_vae.inference.posterior.at_draws import each_particle
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.particles import values_of


@dataclass(frozen=True)
class Guide(DrawsPosterior):
    """Take the guide's draws as they are, all with one weight.

    They come from q(z | x), not from the posterior: as good as the guide, and nothing shows how good that
    is. ``Importance`` has the same draws, and their weights.

    >>> from pyro_vae import posterior
    >>> from pyro_vae.models import FactorAnalysis
    >>> draws = posterior(FactorAnalysis((3,), 2), torch.zeros(5, 3), method=Guide(), num_draws=10).draws
    >>> draws["z"].shape
    torch.Size([10, 5, 2])
    """

    is_weighted = False
    uses_density = False
    rests_on_guide = True
    num_chains = 1

    @property
    def description(self) -> str:
        return "draws of the guide"

    def drawer(self, example: BoundProgram, work: Workload) -> Drawer:
        def draw(bound_program: BoundProgram, advance: Advance) -> WeightedDraws:
            def run(count: int, _: dict[str, Tensor]) -> dict[str, Tensor]:
                return values_of(bound_program.guide(count))

            structure = bound_program.structure
            drawn = each_particle(bound_program, run, work.num_particles, {})
            advance(1.0)
            log_weights = torch.zeros(
                work.num_particles, structure.num_units, device=bound_program.device
            )
            return WeightedDraws(drawn, log_weights)

        return draw
