"""A model with its own prior in the guide's place, for what uses no guide."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyro import poutine

from pyro_vae.errors import InputError
from pyro_vae.program.contract import held_program
from pyro_vae.program.sum_out import marking
from pyro_vae.program.trace import is_point_mass


def with_prior_as_guide(program: Any, sums_out: bool = True) -> Any:
    """Return the model of a program, or a model alone, with its prior as the guide.

    Anything else comes back as it is, and is refused where programs are.

    Args:
        program: a model and guide, or a model.
        sums_out: whether the guide leaves out the discrete latents of finite support, which are then marked
            to be summed out.
    """
    program = held_program(program)
    model = getattr(program, "model", program)
    if isinstance(program, tuple) and len(program) == 2:
        model = program[0]
    if not callable(model):
        return program
    model = marking(model) if sums_out else model
    guide = poutine.block(model, hide_fn=_is_no_draw)
    guide.is_prior = True  # type: ignore[attr-defined]
    return model, guide


def has_prior_as_guide(program: Any) -> bool:
    """Return whether a program has no guide but its prior: nothing was learnt about latents from data.

    >>> has_prior_as_guide(with_prior_as_guide(lambda x: None))
    True
    """
    guide = program[1] if isinstance(program, tuple) else getattr(program, "guide", None)
    return bool(getattr(guide, "is_prior", False))


def require_guide(program: Any, remedy: str) -> None:
    """Check that a program has a guide that says which latents belong to a row.

    Raises:
        InputError: it has none but its prior, as a GAN that was fitted without one.
    """
    if has_prior_as_guide(program):
        raise InputError(
            "the model was fitted without a guide, so nothing says which latents belong to a row",
            subject="guide",
            remedy=remedy,
        )


@contextmanager
def blaming_the_model() -> Iterator[None]:
    """Say of a fault in such a guide that it is the model's."""
    try:
        yield
    except InputError as error:
        if error.subject != "guide":
            raise
        problem = error.problem.replace("the guide", "the model")
        raise InputError(
            problem, subject="model", expected=error.expected, remedy=error.remedy
        ) from error


def _is_no_draw(msg: Any) -> bool:
    """Return whether a site is none that a guide draws: observed, computed or to be summed out."""
    if msg["type"] != "sample":
        return False
    return bool(msg["is_observed"] or msg["infer"].get("enumerate") or is_point_mass(msg["fn"]))
