"""The evidence of what the model draws at points of the latent space."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae.inference.evidence.estimate import log_evidence
from pyro_vae.inference.latent_space.decode import draws_at
from pyro_vae.inference.latent_space.space import OneRow, Point
from pyro_vae.program.observed_arguments import arguments_in

NO_EVIDENCE = "the steps have no evidence"
NO_ROWS = f"{NO_EVIDENCE}: it takes rows that share no latent, and a site that observes an argument"


@dataclass(frozen=True)
class Drawn:
    """Hold data that were drawn for a row, as the program takes them.

    Attributes:
        arguments: each ``M | ...``.
        kept: observed sites whose value stays that of the row: no latent has a say in them, or they observe
            no argument unchanged.
    """

    arguments: tuple[Tensor, ...]
    kept: tuple[str, ...]


def observed_of(row: OneRow) -> dict[str, int]:
    """Return which argument each observed site of a row's call observes."""
    return arguments_in(row.call.one()[1], row.arguments)


def has_evidence(row: OneRow, moving: Collection[str]) -> bool:
    """Return whether drawn rows can be weighed: rows have an evidence, and what moves is an argument."""
    return row.space.at_mean.unit is not None and bool(observed_of(row).keys() & set(moving))


def draw_rows(row: OneRow, points: Point, num_draws: int, moving: Collection[str]) -> Drawn:
    """Return rows that the model draws at M points, ``num_draws`` at each, in the order of the points."""
    observes = {name: place for name, place in observed_of(row).items() if name in moving}
    repeated = {name: z.repeat_interleave(num_draws, 0) for name, z in points.items()}
    drawn = draws_at(row, repeated, moving)
    num = len(next(iter(repeated.values())))
    arguments = []
    for number, argument in enumerate(row.arguments):
        own = argument[row.place : row.place + 1].cpu()
        site = next((name for name, place in observes.items() if place == number), None)
        if site is None:
            arguments.append(own.expand(num, *own.shape[1:]))
        else:
            arguments.append(drawn[site].reshape(num, *own.shape[1:]).to(own.dtype))
    kept = tuple(name for name in row.space.at_mean.observed if name not in observes)
    return Drawn(tuple(arguments), kept)


def weigh(
    program: Any, rows: tuple[Tensor, ...], num_particles: int, options: Mapping[str, Any]
) -> Tensor:
    """Return log p(x) of rows, (N,), in nats."""
    data = rows if len(rows) > 1 else rows[0]
    found = log_evidence(program, data, num_particles=num_particles, **options)
    return torch.as_tensor(found.log_evidence).double().cpu()
