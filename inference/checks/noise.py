"""Whether a program gives the same latents the same density at every call."""

from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.probe import difference, examined_traces, moves, rerun


def noise(bound_program: BoundProgram) -> str | None:
    """Return the site that scores the same latents differently the next time, and by how much, if any."""
    first = examined_traces(bound_program)
    before, after = (
        traces.scores(bound_program.structure) for traces in (first, rerun(bound_program, first))
    )
    moved = difference(before, after)
    return None if moved is None else f"{moved[0]}, by up to {moved[1]:.3g} nats"


def check_steady(bound_program: BoundProgram) -> None:
    """Check that the program's densities are functions of its latents.

    Raises:
        InputError: they are not.
    """
    if bound_program.noise is not None:
        raise _noisy(bound_program.noise)


def refuse_noise(one: Tensor, other: Tensor) -> None:
    """Check that the same latents have one log-density.

    Raises:
        InputError: they have two.
    """
    if bool(moves(one, other).any()):
        raise _noisy(f"by up to {float((one - other).abs().max()):.3g} nats")


def _noisy(change: str) -> InputError:
    return InputError(
        f"the program gives the same latents a different density at each call ({change}): noise "
        "or a random subsample is drawn outside `pyro.sample`",
        subject="program",
        expected="a density that stays the same",
        remedy="draw all noise by `pyro.sample`",
    )
