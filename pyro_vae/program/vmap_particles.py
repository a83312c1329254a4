"""Particles of a program that takes no further dimension on the left: runs by ``vmap``, all at once.

``X @ w``, ``x.shape[0]``, ``data[t]``, ``theta[group]``, ``torch.stack([a, b])`` mean what they mean for
one particle.
"""

import contextlib
import linecache
import traceback
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.contract import Program
from pyro_vae.program.log_prob import score, unit_log_prob
from pyro_vae.program.particles import Particles, replay, score_model, with_values
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import drawn_sites, proposal_sites, run
from pyro_vae.program.vmap import each


def draw_by_vmap(
    program: Program,
    structure: Structure,
    num_particles: int,
    *args: Any,
    at_once: int | None = None,
    **kwargs: Any,
) -> Particles:
    """Draw as :func:`.particles.draw` does, by ``vmap`` in place of a plate over particles.

    Args:
        program: the model and guide.
        structure: its sites and plates on these arguments.
        num_particles: K.
        args: the program's arguments, and ``kwargs``.
        at_once: how many particles the model scores at a time, which changes memory alone: all are
            drawn together.

    Raises:
        InputError: the program cannot be mapped.
    """

    def propose() -> tuple[dict[str, Tensor], Tensor]:
        guide = run("guide", program.guide, args, kwargs)
        log_guide = score(proposal_sites(guide).values(), structure, 1)[0]
        return {name: site["value"] for name, site in drawn_sites(guide).items()}, log_guide

    latents, log_guide = each(propose, num_particles)
    one = run("guide", program.guide, args, kwargs)  # for all but the values

    def weigh(values: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        given = with_values(one, lambda site: values[site["name"]])
        model = replay(program.model, given, structure, *args, **kwargs)
        log_likelihood, log_prior = score_model(model, structure, 1)
        return log_likelihood[0], log_prior[0]

    log_likelihood, log_prior = each(weigh, num_particles, latents, at_once=at_once)
    return Particles(log_likelihood, log_prior, log_guide, latents)


# --- reasons ----------------------------------------------------------------------------------------

LIBRARIES = tuple(
    str(Path(path).parent)
    for path in (torch.__file__, pyro.__file__, __file__, contextlib.__file__)
)
MEANINGS = {  # of torch's messages
    "data-dependent control flow": "Python decides by the value of a tensor (`torch.where` would not)",
    ".item()": "a tensor becomes a Python number",
    "dynamic shape": "values are picked by a mask that depends on latents (`torch.where` keeps the shape)",
    "data pointer": "a tensor is handed to NumPy",
    ".numpy()": "a tensor is handed to NumPy",
}


def reason_of(error: BaseException) -> str:
    """Return why ``vmap`` fails, and in which line of the program or at which site."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = (str(error).splitlines() or [""])[0]
    reason = next((meaning for said, meaning in MEANINGS.items() if said in text), "")
    if not reason:
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}, "
        reason = kind + (text.split(". ")[0] if kind else text)
    where = ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if frame.f_code is unit_log_prob.__code__:
            site = frame.f_locals["site"]
            where = f" where site {site['name']!r} ({site['fn']}) is scored"
        elif not name.startswith((*LIBRARIES, "<")):
            line = linecache.getline(name, number).strip()
            shown = f" in `{line}`" if line else ""
            where = f"{shown} ({Path(name).name}, line {number})"
    return reason + where
