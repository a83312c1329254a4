"""What a proposal that holds a part of a model's symmetric copies leaves out of a figure.

Where a model has symmetries, its posterior has a mode for each copy of a draw. A proposal q that sits on
one of them never shows the others to its weights, and the figure is low by the log of their number. How
much it leaves out, its own density tells: of all copies s z of its draw z, the share q(s z) / sum_t q(t z)
of its draws lies near s z, so K draws reach that copy with probability 1 - (1 - share)^K. All copies have
the same part of the evidence.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.annealing.paths import AnnealingPath
from pyro_vae.inference.evidence.defensive import guide_at_copies
from pyro_vae.inference.evidence.unit_estimates import UnitEstimates
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.generators import generators_as_found
from pyro_vae.program.isolation import seed_all
from pyro_vae.program.probe import PROBE_SEED
from pyro_vae.program.symmetries import symmetries
from pyro_vae.program.symmetry import Symmetries, copied, copies, num_copies, trace_of

SCORES = 64  # about, in all
LEAST_DRAWS = 4
MATTERS = 0.05  # nats
MISSED = "nats that copies by symmetry would add"  # an indicative figure

Scores = Callable[[Symmetries], Tensor]
"""Returns log q, up to a constant, at all copies of one draw of q, itself first."""


@dataclass(frozen=True)
class Missed:
    """Hold by how much a figure is too low, as the draws of a proposal hold a part of the copies.

    Attributes:
        nats: by how much, about.
        note: that, in sentences.
    """

    nats: float
    note: str

    def without_error(self, estimates: UnitEstimates) -> UnitEstimates:
        """Return estimates without the errors that their weights show: these know nothing of the rest."""
        of_all = torch.full_like(estimates.log_evidence, self.nats)
        return replace(
            estimates,
            standard_error=torch.full_like(estimates.standard_error, math.nan),
            indicative={**estimates.indicative, MISSED: of_all},
        )


def missed_by_guide(example: BoundProgram, num_draws: int, remedy: str) -> Missed | None:
    """Return what K draws of the guide leave out; None where that is less than 0.05 nats."""
    found = symmetries(example)
    return missed(found, lambda own: guide_at_copies(example, own), num_draws, "the guide", remedy)


def missed(
    found: Symmetries, scores: Scores, num_draws: int, holder: str, remedy: str
) -> Missed | None:
    """Return what K draws of a proposal leave out; None where that is less than 0.05 nats.

    Args:
        found: the model's symmetries.
        scores: of the proposal.
        num_draws: K.
        holder: the proposal in words.
        remedy: what reaches all copies.
    """
    if not found:
        return None
    count = num_copies(found)
    with generators_as_found(), torch.no_grad():
        seed_all(PROBE_SEED)  # the same answer wherever it is asked
        try:
            drawn = [scores(found).double() for _ in range(max(LEAST_DRAWS, SCORES // count))]
        except InputError:  # the density at other values is not known
            return None
    shares = torch.stack(drawn).softmax(-1)
    nats = -math.log1p(-float((1 - shares).pow(num_draws).mean()))
    if not nats > MATTERS:
        return None
    number = f"{math.log(count):.2f} nats, the log of their number"
    text = "; ".join(one.words for one in found)
    return Missed(
        nats,
        f"{text}. The draws of {holder} hold a part of these {count:,} copies: the figure is probably low "
        f"by up to {number}, and has no error. {remedy}",
    )


def symmetrized_note(example: BoundProgram, how: str) -> tuple[str, ...]:
    """Return what ``symmetrize`` has done."""
    found = symmetries(example)
    if not found:
        return ("symmetrize changed nothing: no symmetry of the model was found",)
    return (f"{'; '.join(one.words for one in found)}. {how}",)


def is_of_a_part(estimates: UnitEstimates) -> bool:
    """Return whether a figure is of a part of the copies."""
    return MISSED in estimates.indicative


def scores_of_path(path: AnnealingPath, draw: Callable[[], Tensor]) -> Scores:
    """Return the scores of a path's start at draws (1, U, D), of a program without a dimension for chains.

    The model's density is the same at all copies, so the ratio of the path's ends tells that of the start,
    without Jacobians.
    """

    def scores(found: Symmetries) -> Tensor:
        values = {name: value[0] for name, value in path.latents(draw(), 1).items()}
        logs = []
        for copy in copies(found):
            other = path.coordinates_of(trace_of(copied(values, found, copy)))
            start, end = path.log_densities(other)
            logs.append((start.double() - end.double()).reshape(()))
        return torch.stack(logs)

    return scores
