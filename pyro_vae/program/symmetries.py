"""All symmetries of a model that are looked for: labels that can change places, signs that can change."""

import itertools
from contextlib import suppress

import torch

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.generators import generators_as_found
from pyro_vae.program.labels import exchangeable_labels
from pyro_vae.program.reflections import reflections
from pyro_vae.program.symmetry import Probes, Symmetries, Symmetry, num_copies

MOST_COPIES = 120  # of a draw: the orders of five labels


def symmetries(bound_program: BoundProgram) -> Symmetries:
    """Return maps of the latents that all data share, which leave the model's log-density as it is.

    They are looked for at a draw of the guide and one of the prior. What would make more than 120 copies of
    a draw is left out, as is a program whose guide draws discrete latents.
    """
    found = list[Symmetry]()
    if bound_program.structure.unit is None:
        with generators_as_found(), torch.no_grad(), suppress(InputError):
            probes = Probes.of(bound_program)
            for one in itertools.chain(exchangeable_labels(probes), reflections(probes)):
                if num_copies((*found, one)) <= MOST_COPIES:
                    found.append(one)
    return tuple(found)
