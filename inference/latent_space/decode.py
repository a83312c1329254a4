"""The data at points of the latent space: means, and draws."""

from pyro import poutine
from torch import Tensor

from pyro_vae.inference.latent_space.space import OneRow, Point
from pyro_vae.inference.posterior.prior import mean_of
from pyro_vae.program.redrawing import redrawing
from pyro_vae.program.trace import sample_sites


def means_at(row: OneRow, points: Point) -> dict[str, Tensor]:
    """Return E[x | z] at M points, by site, ``M | rest | event``; a draw where it has no mean."""

    def read(trace: poutine.Trace) -> dict[str, Tensor]:
        sites = sample_sites(trace)
        return {name: mean_of(sites[name]) for name in row.space.at_mean.observed}

    return _of_row(row, row.run(points, read, redrawing))


def draws_at(row: OneRow, points: Point) -> dict[str, Tensor]:
    """Return a draw of p(x | z) at each of M points, by observed site, ``M | rest | event``."""

    def read(trace: poutine.Trace) -> dict[str, Tensor]:
        sites = sample_sites(trace)
        return {name: sites[name]["value"] for name in row.space.at_mean.observed}

    return _of_row(row, row.run(points, read, redrawing))


def _of_row(row: OneRow, found: dict[str, Tensor]) -> dict[str, Tensor]:
    of_row = row.of_sites(found, row.space.at_mean.layouts)
    return {name: value.cpu() for name, value in of_row.items()}
