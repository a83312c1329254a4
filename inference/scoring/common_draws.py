"""Tiles of rows that all share one set of draws, so that a row scores alone as it does among others."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from pyro_vae.data import Batches, batches
from pyro_vae.device import resolve
from pyro_vae.errors import InputError
from pyro_vae.inference.checks.support import check_proposal
from pyro_vae.inference.evidence.estimate import evidence_of_tiles
from pyro_vae.inference.evidence.exact import Exact
from pyro_vae.inference.evidence.example import EXAMPLE_ROWS
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import Method, Workload
from pyro_vae.inference.evidence.result import Evidence
from pyro_vae.inference.evidence.tiles import Tiles, fitting_units, open_tiles
from pyro_vae.program.autoguide import has_unset_autoguide
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.common_noise import CommonNoise, is_without_common_noise
from pyro_vae.program.contract import Program, signature
from pyro_vae.program.structure import check_proper

TOGETHER = 512  # particles drawn together, whatever the number of rows: the draws depend on it


def rows_of(program: Program, data: Any, device: str | torch.device) -> Batches:
    """Return the rows of data as the program takes them."""
    return batches(data, resolve(device), signature(program))


@contextmanager
def open_common(
    program: Program, data: Any, seed: int, device: str | torch.device, draws_units: bool = False
) -> Iterator[Tiles]:
    """Open the rows of data for evaluation with the same noise for each row.

    Where the noise of the guide cannot be shared within a tile, or a method draws more than the guide does,
    a tile is one row, and all tiles have the same noise.

    Args:
        program: a model and guide.
        data: as :func:`pyro_vae.log_evidence` takes them.
        seed: of the noise.
        device: where to compute.
        draws_units: whether the method draws for each unit beside the guide.

    Raises:
        InputError: rows have no evidence of their own.
    """

    def size(example: BoundProgram) -> int:
        return fitting_units(example, TOGETHER)

    padded = _padded(program, data, device)
    with open_tiles(program, padded, None, seed, device, size) as tiles:
        _check_rows(tiles)
        check_proper(tiles.example.structure)
        tiles = replace(tiles, seed=seed, same_noise=True)
        if not draws_units:
            common = _with_common_noise(tiles)
            if common is not None:
                yield common
                return
        if tiles.example.by_rows:
            tiles = replace(tiles, index=list(torch.arange(tiles.num_units).split(1)))
        yield tiles


def common_evidence(
    program: Program,
    data: Any,
    method: Method,
    num_particles: int,
    seed: int,
    device: str | torch.device,
    progress: bool | None,
) -> Evidence:
    """Estimate log p(x) of each row with the same noise for all of them."""
    draws_units = not method.is_exact and not (
        type(method) is Importance and not method.prior_share and not method.symmetrize
    )
    target = method.program(program)
    if isinstance(method, Exact):
        opened = open_exact(target, data, device)
    else:
        opened = open_common(target, data, seed, device, draws_units)
    with opened as tiles:
        sizes = tuple(map(len, tiles.index))
        work = Workload(num_particles, sizes, compile="off", together=TOGETHER)
        evidence = evidence_of_tiles(tiles, method, work, progress)
    count = rows_of(program, data, "cpu").num_units
    return evidence if evidence.num_units == count else evidence.select(torch.arange(count))


@contextmanager
def open_exact(program: Program, data: Any, device: str | torch.device) -> Iterator[Tiles]:
    """Open the rows of data for an estimate without noise."""
    with open_tiles(program, data, None, 0, device, fitting_units) as tiles:
        _check_rows(tiles)
        yield tiles


def _padded(program: Program, data: Any, device: str | torch.device) -> Any:
    """Return few rows with copies of the last, so that tiles are cut as from many."""
    rows = rows_of(program, data, device)
    if rows.num_units > EXAMPLE_ROWS or has_unset_autoguide(program):
        return data
    count = rows.num_units
    return next(rows.take(torch.arange(EXAMPLE_ROWS + 1).clamp(max=count - 1), EXAMPLE_ROWS + 1))


def _check_rows(tiles: Tiles) -> None:
    if tiles.example.structure.unit is None or (
        tiles.rows is not None and tiles.num_units != tiles.rows.num_units
    ):
        why = f": {tiles.notes[0]}" if tiles.notes else ""
        raise InputError(
            f"the rows have no score of their own{why}",
            subject="program",
            expected="a model whose latents all lie in the plate of the rows",
        )


def _with_common_noise(tiles: Tiles) -> Tiles | None:
    """Return the tiles with a guide that shares its noise among rows; None if it cannot."""
    example = tiles.example
    if not example.vectorized or not example.by_rows:
        return None
    guide = CommonNoise(str(example.structure.unit))(example.program.guide)
    common = replace(example, program=replace(example.program, guide=guide))
    try:
        common.guide(2)
        common.single().guide(1)
        check_proposal(common, narrower_too=False)
    except Exception as error:
        if is_without_common_noise(error):
            return None
        raise
    return replace(tiles, example=common)
