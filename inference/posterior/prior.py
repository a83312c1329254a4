"""Latents from the prior, and the data that they make."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.posterior.at_draws import in_parts, named
from pyro_vae.inference.posterior.computed import compute, computed_in
from pyro_vae.inference.posterior.source import Source
from pyro_vae.notebook import table
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import signature
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.prior_guide import blaming_the_model, with_prior_as_guide
from pyro_vae.program.redrawing import mean_of, redrawing
from pyro_vae.program.site_layout import SiteLayout, layouts_of
from pyro_vae.program.trace import Site, is_factor, observed_sites, run, sample_sites

if TYPE_CHECKING:
    from pyro_vae.inference.posterior.site_draws import SiteDraws

CHECKS: dict[str, checks.Check] = {
    "num_draws": at_least_1,
    "unit": checks.optional(checks.plate),
    "seed": checks.optional(checks.seed),
}


@dataclass(frozen=True, repr=False)
class PriorSamples:
    """Hold draws of p(z) and of p(x | z), by site.

    Attributes:
        draws: of the latents, and of what the model computes from them, ``draws | plates | event``.
        predictive: of the data, each given its draw of the latents, ``draws | plates | event``.
        means: of the data given that draw, E[x | z]; the data themselves where they have no mean.
    """

    draws: Mapping[str, Tensor]
    predictive: Mapping[str, Tensor]
    means: Mapping[str, Tensor]

    @property
    def num_draws(self) -> int:
        return len(next(iter({**self.draws, **self.predictive}.values())))

    def __repr__(self) -> str:
        sites = ", ".join(
            f"{name} {tuple(value.shape[1:])}"
            for name, value in {**self.draws, **self.predictive}.items()
        )
        return f"PriorSamples({self.num_draws:,} draws of {sites})"

    def _repr_html_(self) -> str:
        """Return a table of the sites: the size of a draw, and the spread of all its numbers."""
        rows = [
            (name, what, " x ".join(map(str, value.shape[1:])), *_figures(value))
            for what, part in (("latent", self.draws), ("data", self.predictive))
            for name, value in part.items()
        ]
        headings = ("site", "", "size", "mean", "sd", "5 %", "95 %")
        return table(rows, headings, f"{self.num_draws:,} draws from the prior")


def _figures(value: Tensor) -> tuple[str, ...]:
    numbers = value.double().flatten()
    low, high = np.quantile(numbers.numpy(), [0.05, 0.95])
    return tuple(f"{x:.3g}" for x in (numbers.mean().item(), numbers.std().item(), low, high))


def prior_samples(
    program: Any,
    data: Any = None,
    *,
    num_draws: int = 1000,
    unit: str | None = None,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
) -> PriorSamples:
    """Draw latents from the prior, and then data: the prior predictive distribution.

    Data give the number of rows and their shape. Their values, any that the model accepts, do not matter to
    a model that uses them for ``obs=`` alone; any other use conditions on them. A response may be left out
    (``obs=y`` with y None). No guide is used, so a model alone is enough.

    Args:
        program: a model and guide, or a model.
        data: as :func:`pyro_vae.posterior` takes them.
        num_draws: of each row.
        unit: the plate of the units.
        args: with ``kwargs``, in place of ``data``: the program is called with them as they are.
        kwargs: the named arguments of that call.
        seed: of the draws; by default they continue from torch's generator, without advancing it.
        device: where to compute. The result is on the CPU.

    Raises:
        InputError: the program does not fit the data, or a latent's prior is flat.

    >>> from pyro_vae.models import FactorAnalysis
    >>> drawn = prior_samples(FactorAnalysis((3,), 2), torch.zeros(5, 3), num_draws=40)
    >>> drawn.draws["z"].shape, drawn.predictive["x"].shape
    (torch.Size([40, 5, 2]), torch.Size([40, 5, 3]))
    """
    checks.check_arguments(CHECKS, locals())
    source = Source(
        with_prior_as_guide(program, sums_out=False), data, args, kwargs, unit, device, num_draws
    )
    with blaming_the_model(), source.open(seed) as tiles:
        example = tiles.example
        trace = example.one()[1]
        sites, structure = sample_sites(trace), example.structure
        layouts = layouts_of(sites)
        computed = computed_in(example)
        left_out = responses_left_out(example, sites)
        latents = tuple(name for name in structure.latents if name not in left_out)
        observed = tuple(n for n in structure.observed if not is_factor(sites[n])) + left_out
        unit = structure.unit
        parts = [_draw(call, layouts, latents, observed, computed, num_draws) for call in tiles]
    return _joined(parts, layouts | computed, unit)


def responses_left_out(example: BoundProgram, sites: Mapping[str, Site]) -> tuple[str, ...]:
    """Return the latents that are data, but for an argument that was left out: ``obs=y`` with y None.

    An argument with a default is given the value of a latent, first that of its own name. A response turns
    its site into an observed one.
    """
    arguments, found = signature(example.program), list[str]()
    given = {**dict(zip(arguments.model or (), example.args, strict=False)), **example.kwargs}
    for argument in arguments.model or ():
        if argument in arguments.needed or given.get(argument) is not None:
            continue
        latents = [name for name in example.structure.latents if name not in found]
        for name in sorted(latents, key=lambda name: name != argument):
            filled = given | {argument: sites[name]["value"]}
            with suppress(InputError), undisturbed(example.program, 0), torch.no_grad():
                if name in observed_sites(run("model", example.program.model, (), filled)):
                    found.append(name)
                    break
    return tuple(found)


def prior_of(posterior: "SiteDraws", num_draws: int, seed: int | None) -> PriorSamples:
    """Return draws of the prior of a posterior's program, for the rows of its data."""
    layouts, latents = posterior.layouts, tuple(posterior.latents)
    computed = {name: layouts[name] for name in posterior.computed}
    with posterior.source.open(seed) as tiles:
        parts = [
            _draw(call, layouts, latents, posterior.observed, computed, num_draws) for call in tiles
        ]
    return _joined(parts, layouts, posterior.unit)


def _draw(
    call: BoundProgram,
    layouts: Mapping[str, SiteLayout],
    latents: Collection[str],
    observed: Collection[str],
    computed: Mapping[str, SiteLayout],
    num_draws: int,
) -> PriorSamples:
    """Return the draws of one tile."""

    def run(count: int, _: dict[str, Tensor]) -> dict[str, Tensor]:
        sites = sample_sites(call.model(count, redrawing))
        found = {name: sites[name]["value"] for name in (*latents, *observed)}
        return found | {_mean(name): mean_of(sites[name]) for name in observed}

    of_means = {_mean(name): layouts[name] for name in observed}
    found = in_parts(call, run, num_draws, {})
    shaped = named(found, {**layouts, **of_means}, num_draws, call)
    draws = {name: shaped[name] for name in latents}
    if computed:
        draws |= compute(call, layouts, draws, computed)
    return PriorSamples(
        {name: value.cpu() for name, value in draws.items()},
        {name: shaped[name].cpu() for name in observed},
        {name: shaped[_mean(name)].cpu() for name in observed},
    )


def _mean(name: str) -> str:
    return f"mean of {name}"


def _joined(
    parts: list[PriorSamples], layouts: Mapping[str, SiteLayout], unit: str | None
) -> PriorSamples:
    """Return the draws of all tiles, in their order."""
    if len(parts) == 1:
        return parts[0]

    def joined(of_tiles: list[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        axes = {name: layouts[name].axis(unit) or 0 for name in of_tiles[0]}
        return {n: torch.cat([tile[n] for tile in of_tiles], axis) for n, axis in axes.items()}

    return PriorSamples(
        joined([part.draws for part in parts]),
        joined([part.predictive for part in parts]),
        joined([part.means for part in parts]),
    )
