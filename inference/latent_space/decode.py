"""The data at points of the latent space: means, and draws."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyro_vae.inference.latent_space.prior import RowPrior
from pyro_vae.inference.latent_space.space import OneRow, Point
from pyro_vae.inference.posterior.guide_mean import given_by
from pyro_vae.program.log_prob import unit_log_prob
from pyro_vae.program.redrawing import mean_of
from pyro_vae.program.trace import Site, sample_sites


def sites_that_move(row: OneRow, points: Point) -> tuple[str, ...]:
    """Return the observed sites that the latents have a say in: whose score differs between points.

    The others, such as a class that the decoder is given, keep the row's value. A site with gaps counts,
    as a row of gaps has the same score everywhere.
    """
    observed, structure = row.space.at_mean.observed, row.call.structure
    gaps: set[str] = set()

    def read(trace: poutine.Trace) -> dict[str, Tensor]:
        sites = {name: sample_sites(trace)[name] for name in observed}
        gaps.update(name for name, site in sites.items() if bool(site["value"].isnan().any()))
        return {name: unit_log_prob(site, structure) for name, site in sites.items()}

    found = row.run(RowPrior(row).with_another(points), read)
    return tuple(name for name in observed if name in gaps or _differs(found[name]))


def _differs(scores: Tensor) -> bool:
    first = scores[:1].expand_as(scores)
    return not torch.allclose(scores, first, rtol=1e-6, atol=1e-9, equal_nan=True)


@dataclass(frozen=True)
class Means:
    """Hold E[x | z] by site, ``M | rest | event``, and notes on what else stands there."""

    means: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()


def means_at(row: OneRow, points: Point, moving: Collection[str]) -> Means:
    """Return E[x | z] at M points; of classes the most probable one, of what has neither a draw.

    Args:
        row: with its call.
        points: latents of the row.
        moving: the observed sites that are drawn anew; the others keep the row's value.
    """

    drawn: set[str] = set()

    def read(trace: poutine.Trace) -> dict[str, Tensor]:
        sites, found = sample_sites(trace), {}
        for name in row.space.at_mean.observed:
            centre = _centre(sites[name]) if name in moving else sites[name]["value"]
            if centre is None:
                drawn.add(name)
            found[name] = sites[name]["value"] if centre is None else centre
        return found

    means = _of_row(row, points, row.run(points, read, _redrawing(moving)))
    names = ", ".join(map(repr, sorted(drawn)))
    return Means(means, (f"{names} has no mean: draws stand in its place",) if drawn else ())


def _centre(site: Site) -> Tensor | None:
    """Return the mean of a site's distribution, or the mode of classes; None where it has neither."""
    mean, mode = given_by(site["fn"], "mean"), given_by(site["fn"], "mode")
    if mean is not None and not bool(mean.isnan().all()):
        return mean_of(site)
    return None if mode is None else mode.expand_as(site["value"])


def draws_at(row: OneRow, points: Point, moving: Collection[str]) -> dict[str, Tensor]:
    """Return a draw of p(x | z) at each of M points, by site, ``M | rest | event``."""

    def read(trace: poutine.Trace) -> dict[str, Tensor]:
        sites = sample_sites(trace)
        return {name: sites[name]["value"] for name in row.space.at_mean.observed}

    return _of_row(row, points, row.run(points, read, _redrawing(moving)))


def _of_row(row: OneRow, points: Point, found: dict[str, Tensor]) -> dict[str, Tensor]:
    num = len(next(iter(points.values())))
    of_row = row.of_sites(found, row.space.at_mean.layouts, num)
    return {name: value.cpu() for name, value in of_row.items()}


def _redrawing(moving: Collection[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def handler(model: Callable[..., Any]) -> Callable[..., Any]:
        inside: Callable[..., Any] = _Redrawing(moving)(model)
        return inside

    return handler


class _Redrawing(Messenger):
    """Forget the values of some observed sites."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__()
        self.names = names

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.names and msg["is_observed"]:
            msg["is_observed"], msg["value"], msg["done"] = False, None, False
