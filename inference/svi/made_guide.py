"""A guide for a model that has none."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyro
import torch
from pyro.infer.autoguide import AutoLowRankMultivariateNormal, AutoMultivariateNormal
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_vae.data import Batches
from pyro_vae.errors import InputError, report_user_errors
from pyro_vae.guides import AutoAmortized
from pyro_vae.inference.objectives import Landing, Linear, Objective
from pyro_vae.inference.svi.optimizer import ADAM
from pyro_vae.inference.svi.settings import Settings
from pyro_vae.program.contract import Program, held_program
from pyro_vae.program.generators import generators_as_found
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.structure import Structure
from pyro_vae.program.sum_out import marked_to_be_summed_out
from pyro_vae.program.trace import run, sample_sites

ROWS = 1_000  # with which the model is examined
RATE = 3e-3  # of a made guide without networks
WITH_COVARIANCES = AutoMultivariateNormal | AutoLowRankMultivariateNormal


def has_guide(program: Any) -> bool:
    """Return whether something is a program, or else a model alone."""
    program = held_program(program)
    return isinstance(program, tuple) or callable(getattr(program, "guide", None))


def needs_guide(elbo: Any) -> bool:
    """Return whether the guide matters to an objective, Pyro's or ours."""
    return not isinstance(elbo, Objective) or elbo.needs_guide


def validates(elbo: Any) -> bool:
    """Return whether held-out data have a figure under an objective, Pyro's or ours."""
    return not isinstance(elbo, Objective) or elbo.validates


def made_from_rows(target: Program, rows: Batches, seed: int) -> tuple[Any, AutoAmortized]:
    """Return a model, and a guide made from it and the first rows.

    Args:
        target: the model, without a guide.
        rows: the data.
        seed: of the guide's first weights.

    Raises:
        InputError: no guide can be made for this model, or rows would have parameters of their own.
    """
    for module in target.modules.values():
        module.to(rows.device)
    count = min(rows.num_units, ROWS)
    args = next(rows.take(torch.arange(count), count))
    model, guide = made_from_call(target, args, {}, seed)
    if count > 1:
        _check_sizes(target, guide, [x[1:] for x in args])
    return model, guide


def _check_sizes(target: Program, guide: AutoAmortized, fewer: Sequence[Tensor]) -> None:
    """Check that the plates of latents with free parameters keep their sizes when there are fewer rows.

    Raises:
        InputError: one does not.
    """
    try:
        with undisturbed(target, 0), torch.no_grad():
            trace = run("model", target.model, fewer, {})
    except InputError:  # it is of so many rows, and of no others
        return
    for frame in (f for site in sample_sites(trace).values() for f in site["cond_indep_stack"]):
        known = guide.frames.get(frame.name)
        of_units = guide.unit is not None and frame.name == guide.unit.name
        if known is not None and not of_units and known.size != frame.size:
            raise InputError(
                f"plate {frame.name!r} has an element for each row, but no argument has a row for each "
                "of its elements",
                subject=frame.name,
                remedy="pass the data units first, or all data as args=(...), to give each element "
                "parameters of its own",
            )


def made_from_call(
    target: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any], seed: int
) -> tuple[Any, AutoAmortized]:
    """Return a model, and a guide made from it and the arguments of a call.

    Raises:
        InputError: no guide can be made for this model.
    """
    with generators_as_found(), report_user_errors():
        pyro.set_rng_seed(seed)
        model = marked_to_be_summed_out(target, args, kwargs)
        return model, AutoAmortized(model, *args, **kwargs)


def with_defaults(
    program: Program,
    elbo: Any,
    settings: Settings,
    structure: Structure,
    is_joint: bool,
    parameters: Mapping[str, Tensor],
) -> tuple[Any, Settings]:
    """Return objective and settings, with what suits the guide where they are left open.

    A guide of Pyro's that has the posterior's covariances gets the objective Landing, too, unless an
    optimizer is chosen. Of one made from the model:

    - The learning rate falls to 0 along a cosine: from 0.001, or from 0.003 where no network is trained.
      Shared latents have to go from the prior to a posterior that may be a thousand times narrower: at a
      constant rate the last steps are as long as the first, and the noise that they leave costs nats.
    - The objective is Landing, over the first half of the run, where the model sums nothing out.
    - The last parameters are kept where rows share latents and all parameters are the guide's, since it is
      to fit the training rows.

    Args:
        program: what is fitted.
        elbo: the objective, or None.
        settings: of the run, with its length.
        structure: of the program.
        is_joint: whether rows share latents.
        parameters: all that are trained.
    """
    modules = program.modules.values()
    made = [m for m in modules if isinstance(m, AutoAmortized)]
    lands = elbo is None and not settings.is_tempered and not structure.enumerated
    if not made:
        covers = any(isinstance(module, WITH_COVARIANCES) for module in modules)
        # at an optimizer's own large steps the score is needed as a damper
        suits = lands and covers and settings.optimizer is None
        return _landing(settings) if suits else (elbo, settings)
    guides = {id(parameter) for guide in made for parameter in guide.parameters()}
    is_guides_alone = all(id(parameter) in guides for parameter in parameters.values())
    if settings.optimizer is None:
        has_network = not is_guides_alone or any(guide.local is not None for guide in made)
        settings = replace(settings, optimizer=ADAM if has_network else partial(Adam, lr=RATE))
    settings = replace(
        settings,
        lr_schedule=settings.lr_schedule or partial(CosineAnnealingLR, T_max=settings.epochs),
        keep_best=settings.keep_best and not (is_joint and is_guides_alone),
    )
    return _landing(settings) if lands else (elbo, settings)


def _landing(settings: Settings) -> tuple[Any, Settings]:
    return Landing(), replace(settings, beta=Linear(0.0, 1.0, epochs=settings.epochs / 2))
