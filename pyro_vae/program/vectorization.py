"""How a program runs many chains: in the fastest way that scores each like a run by itself."""

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.examination import Examination, examine
from pyro_vae.program.particles import Particles, draw_by_vmap, is_per_particle, of_particles
from pyro_vae.program.prior_guide import has_prior_as_guide
from pyro_vae.program.probe import Traces, difference, draw_traces, moves, rerun
from pyro_vae.program.trace import Site, drawn_sites
from pyro_vae.program.vmap import reason_of


def with_fastest_chains(bound_program: BoundProgram) -> BoundProgram:
    """Return the call that runs many chains in the fastest way that is right."""
    examined = bound_program.examined
    if examined is None:
        examined = examine(
            bound_program.program, *bound_program.args, strict=False, **bound_program.kwargs
        )
    examined = replace(examined, structure=bound_program.structure)
    pair = pair_together(examined, *bound_program.args, **bound_program.kwargs)
    if pair is not None:
        return replace(bound_program, vectorized=True, pair=pair)
    reason = why_not_by_vmap(bound_program)
    return replace(bound_program, vectorized=False, by_vmap=not reason, reason=reason)


def pair_together(examined: Examination, *args: Any, **kwargs: Any) -> Traces | None:
    """Draw two particles together; return None where a program mixes them up.

    A program that, say, averages over dimension 0 runs under a particle plate without complaint and has
    another density there. So the second particle must score as it does alone, and the first one's score
    must not change with the second one's values.
    """
    structure, others = examined.structure, drawn_sites(examined.guide)
    bound_program = BoundProgram(examined.program, structure, True, args, kwargs)

    def first_alone_stays(site: Site) -> Tensor:
        value: Tensor = site["value"]
        if not is_per_particle(site, structure):
            return value
        other: Tensor = others[site["name"]]["value"]
        return torch.cat([value[:1], other.expand(value[:1].shape)])

    second = partial(of_particles, structure=structure, some=1)
    try:
        pair = draw_traces(bound_program, 2, sum_out=True)
        scores = _scores(bound_program, pair)
        changed = rerun(bound_program, pair, first_alone_stays, 2, sum_out=True)
        if bool(moves(scores[0], _scores(bound_program, changed)[0]).any()):
            return None
        alone = _scores(bound_program, rerun(bound_program.single(), pair, second, sum_out=True))
    except Exception:  # a program that takes no further dimension can raise anything
        return None
    return None if bool(moves(scores[1:], alone).any()) else pair


def _scores(bound_program: BoundProgram, traces: Traces) -> Tensor:
    """Return log p - log q of each particle; of a prior in the guide's place log p, which has it all.

    Such a guide draws the latents that are summed out anew in each run, and the density of others may
    depend on them.
    """
    particles = traces.particles(bound_program.structure)
    is_prior = has_prior_as_guide(bound_program.program)
    return particles.log_joint if is_prior else particles.log_weights


def why_not_by_vmap(bound_program: BoundProgram) -> str:
    """Return why ``vmap`` would not draw particles as runs one by one do; "" if it would.

    Two are drawn, and each is scored by itself at the same draws.
    """
    bound_program = bound_program.single()
    try:
        pair = draw_by_vmap(bound_program, 2)
        first = draw_traces(bound_program, sum_out=True)
        alone = [
            rerun(bound_program, first, partial(_particle, pair, k), sum_out=True) for k in range(2)
        ]
        each = [traces.particles(bound_program.structure) for traces in alone]
    except Exception as error:  # of any kind: one by one may do, or say it better
        return reason_of(error)
    densities = ["log_likelihood", "log_prior"]
    if not has_prior_as_guide(bound_program.program):  # else see _scores
        densities.append("log_guide")
    moved = difference(
        {name: torch.cat([getattr(one, name) for one in each]).double() for name in densities},
        {name: getattr(pair, name).double() for name in densities},
    )
    if moved is None:
        return ""
    name = moved[0].removeprefix("log_")
    return f"its {name} is another under torch's vmap, by {moved[1]:.2g} nats"


def _particle(drawn: Particles, k: int, site: Site) -> Tensor:
    return drawn.latents[site["name"]][k]
