"""The column of the number of parameters."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from pyro_vae.inference.comparison.column import NOTHING, Column, Figures
from pyro_vae.inference.comparison.lineup import Candidate, Lineup
from pyro_vae.inference.comparison.of_rows import has_guide
from pyro_vae.program.contract import as_program, held_program
from pyro_vae.program.parameters import named_parameters
from pyro_vae.program.prior_guide import with_prior_as_guide


@dataclass(frozen=True)
class Parameters(Column):
    """How many numbers were fitted in the modules of each model and its guide.

    Parameters in Pyro's store alone do not count; nothing where a model has no module.
    """

    def figures(self, lineup: Lineup) -> Iterator[Figures]:
        counts = [_count(candidate) for candidate in lineup.candidates]
        cells = tuple(f"{count:,}" if count else NOTHING for count in counts)
        yield Figures("parameters", cells, {"parameters": tuple(c or math.nan for c in counts)})


def _count(candidate: Candidate) -> int:
    if candidate.program is None:
        return 0
    program = held_program(candidate.program)
    if isinstance(program, nn.Module):
        parameters: dict[str, Tensor] = dict(program.named_parameters())
    else:
        whole = program if has_guide(candidate) else with_prior_as_guide(program)
        parameters = named_parameters(as_program(whole))
    return sum(p.numel() for p in parameters.values() if p.requires_grad)
