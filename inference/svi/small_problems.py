"""The optimizer of a fit where the user leaves it open."""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from pyro_vae.inference.svi.minibatching import Minibatching
from pyro_vae.inference.svi.optimizer import ADAM
from pyro_vae.inference.svi.settings import Settings
from pyro_vae.program.contract import Program

FEW_PARAMETERS, FEW_ROWS = 1_000, 1_000
RATE, RATE_OF_LAYERS = 0.1, 0.01
STEP = 1.0  # the length of a step of all parameters together


def draws_anew(module: nn.Module) -> bool:
    """Return whether a module is a layer: it can draw the weights that it starts with."""
    return callable(getattr(module, "reset_parameters", None)) and not isinstance(
        module, PyroModule
    )


def has_layer(root: nn.Module) -> bool:
    """Return whether a module has layers that have parameters."""
    return any(draws_anew(m) and any(True for _ in m.parameters()) for m in root.modules())


def with_optimizer(
    program: Program,
    settings: Settings,
    minibatching: Minibatching,
    parameters: Mapping[str, Tensor],
    has_latents: bool = True,
) -> tuple[Settings, list[str]]:
    """Return settings with an optimizer, and a note where it is not Adam at a rate of 0.001.

    Large networks need small steps. A regression or a hierarchy has parameters in units of the data, and a
    hand-made guide starts anywhere: 5,000 steps of 0.001 move a location by 5 at most. So on few rows
    Adam's rate falls along a cosine to 0: the first steps go far, and the last ones leave no noise. It
    starts from 0.1, with layers (of 1,000 parameters at most) from 0.01. A step of Adam moves each of n
    parameters by about the rate, so all together by its product with sqrt(n). Beyond 1 the noise of many
    of them, as in the covariance of 60 latents, is more than the guide can follow: from n = 100 on the rate
    without layers starts from 1 / sqrt(n).

    Without latents the objective has no noise but that of the rows in a batch, and a density is wanted to
    the last digits: the last steps at a constant rate would move the shares of categories, say. So any
    such program gets a rate that falls to 0, from 0.001.

    Args:
        program: its modules show whether there are layers.
        settings: whose optimizer, and learning-rate schedule, may be left open.
        minibatching: how the rows are taken. There have to be few of them, or a step takes all that share
            latents.
        parameters: all that are trained.
        has_latents: whether the model draws any.
    """
    if settings.optimizer is not None:
        return settings, []
    count = sum(parameter.numel() for parameter in parameters.values())
    is_small = minibatching.steps_per_epoch == 1 or minibatching.num_rows <= FEW_ROWS
    layered = any(map(has_layer, program.modules.values()))
    falling = partial(CosineAnnealingLR, T_max=settings.epochs)
    if settings.lr_schedule is not None:
        return replace(settings, optimizer=ADAM), []
    if not is_small or (layered and count > FEW_PARAMETERS):
        return replace(settings, optimizer=ADAM, lr_schedule=None if has_latents else falling), []
    rate = RATE_OF_LAYERS if layered else min(RATE, STEP / math.sqrt(count))
    note = (
        f"Adam's learning rate falls from {rate:.2g} to 0 along a cosine, for few rows and {count:,} "
        "parameters; optimizer= takes another"
    )
    return replace(settings, optimizer=partial(Adam, lr=rate), lr_schedule=falling), [note]
