"""Particles of a program that takes no further dimension on the left: each as a run by itself, all at once.

``X @ w``, ``x.shape[0]``, ``data[t]``, ``theta[group]``, ``torch.stack([a, b])`` say what they say of one
particle.
"""

import contextlib
import linecache
import math
import traceback
from pathlib import Path
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.contract import Program
from pyro_vae.program.log_prob import score, unit_log_prob
from pyro_vae.program.particles import Particles, read_particles, replay, score_model, with_values
from pyro_vae.program.probe import moves
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import drawn_sites, is_point_mass, proposal_sites, run
from pyro_vae.program.vmap import each


def draw_by_vmap(
    program: Program,
    structure: Structure,
    num_particles: int,
    *args: Any,
    at_once: int | None = None,
    **kwargs: Any,
) -> Particles:
    """Draws as :func:`.particles.draw` does, by ``vmap`` in place of a plate over particles.

    :param at_once: how many particles the model scores at a time. All are drawn together, so this is
        a matter of memory, never of noise.
    :raises InputError: the program cannot be mapped.
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


def why_not_by_vmap(program: Program, structure: Structure, *args: Any, **kwargs: Any) -> str:
    """Why particles drawn by ``vmap`` would not be those of runs one by one; nothing, if they would.

    Two are drawn, and each is scored by itself at the same draws.
    """
    try:
        pair = draw_by_vmap(program, structure, 2, *args, **kwargs)
        apart = [_alone(program, structure, pair, k, args, kwargs) for k in range(2)]
    except Exception as error:  # whatever it is, one by one will do, or say it better
        return reason_of(error)
    for part in ("log_likelihood", "log_prior", "log_guide"):
        ours = getattr(pair, part).double()
        expected = torch.cat([getattr(alone, part) for alone in apart]).double()
        if bool(moves(expected, ours).any()):
            off = float((ours - expected).abs().nan_to_num(math.inf).max())
            return (
                f"its {part.replace('log_', '')} is another under torch's vmap, by {off:.2g} nats"
            )
    return ""


def _alone(
    program: Program, structure: Structure, pair: Particles, k: int, args: Any, kwargs: Any
) -> Particles:
    """One of two particles, by itself; what the guide puts at a point follows from its other sites."""
    guide = run("guide", program.guide, args, kwargs)
    given = with_values(guide, lambda site: pair.latents[site["name"]][k])
    for name in [n for n, s in drawn_sites(given).items() if is_point_mass(s["fn"])]:
        given.remove_node(name)
    guide = run("guide", poutine.replay(program.guide, given), args, kwargs)
    model = replay(program.model, guide, structure, *args, **kwargs)
    return read_particles(model, guide, structure, 1)


# --- reasons ----------------------------------------------------------------------------------------

LIBRARIES = tuple(
    str(Path(path).parent)
    for path in (torch.__file__, pyro.__file__, __file__, contextlib.__file__)
)
WORDS = {  # what torch says, and what it means
    "data-dependent control flow": "Python decides by the value of a tensor (`torch.where` would not)",
    ".item()": "a tensor becomes a Python number",
    "dynamic shape": "values are picked by a mask that depends on latents (`torch.where` keeps the shape)",
    "data pointer": "a tensor is handed to NumPy",
    ".numpy()": "a tensor is handed to NumPy",
}


def reason_of(error: BaseException) -> str:
    """What stands in the way of ``vmap``, and in which line of the program, or at which site."""
    while error.__cause__ is not None:
        error = error.__cause__
    words = (str(error).splitlines() or [""])[0]
    known = [meaning for said, meaning in WORDS.items() if said in words]
    what = known[0] if known else words if isinstance(error, InputError) else _said(error, words)
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
    return what + where


def _said(error: BaseException, words: str) -> str:
    return f"{type(error).__name__}, {words.split('. ')[0]}"
