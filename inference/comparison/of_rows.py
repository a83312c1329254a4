"""The rows of one model's data, beside what the model draws or reconstructs."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import InputError, unknown
from pyro_vae.inference.comparison.lineup import Candidate
from pyro_vae.inference.posterior.arviz import data_of
from pyro_vae.inference.posterior.at_draws import in_parts, named
from pyro_vae.inference.posterior.guide_mean import GuideMean
from pyro_vae.inference.posterior.posterior import posterior
from pyro_vae.inference.posterior.prior import prior_samples
from pyro_vae.inference.posterior.result import Posterior
from pyro_vae.inference.posterior.source import Source
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import as_program
from pyro_vae.program.prior_guide import has_prior_as_guide, with_prior_as_guide
from pyro_vae.program.site_layout import SiteLayout, layouts_of
from pyro_vae.program.trace import sample_sites


def posterior_of(candidate: Candidate, **own: Any) -> Posterior:
    """Return draws of a model's latents given its data, from the options that its evidence had.

    Args:
        candidate: a model of a comparison.
        own: further options of :func:`pyro_vae.posterior`.
    """
    return posterior(candidate.program, candidate.data, **_taken_by(posterior, candidate) | own)


def data_and_draws(candidate: Candidate, site: str | None) -> tuple[Tensor, Tensor]:
    """Return the rows of an observed site, and as many drawn from the prior predictive, ``rows | ...``.

    A covariate is that of the row. No guide is used, and no latent is needed.

    Raises:
        InputError: the model observes several sites and none is named, or its data have no rows.
    """
    alone = with_prior_as_guide(candidate.program, sums_out=False)
    drawn = prior_samples(alone, candidate.data, num_draws=1, **_taken_by(prior_samples, candidate))
    name = site_of(list(drawn.predictive), site)
    with _source(candidate, alone).open(0) as tiles:
        layout = layouts_of(sample_sites(tiles.example.one()[1]))[name]
        unit = tiles.example.structure.unit
        parts = [_observed(call, name, layout) for call in tiles]
    data = torch.cat(parts, (layout.axis(unit) or 1) - 1)
    return by_row(data, layout, unit), by_row(drawn.predictive[name][0], layout, unit)


def _observed(call: BoundProgram, name: str, layout: SiteLayout) -> Tensor:
    """Return the value of an observed site, ``plates | event``, on the CPU."""

    def run(count: int, _: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: sample_sites(call.model(count))[name]["value"]}

    return named(in_parts(call, run, 1, {}), {name: layout}, 1, call)[name][0].cpu()


def data_and_reconstructions(candidate: Candidate, site: str | None) -> tuple[Tensor, Tensor]:
    """Return the rows of an observed site, and E[x' | z] at the guide's mean of z, ``rows | ...``.

    Raises:
        InputError: as :func:`data_and_draws`.
    """
    found = posterior_of(candidate, method=GuideMean(), num_draws=1)
    name = site_of(found.observed, site)
    made = found.reconstructions(seed=candidate.options.get("seed"))[name]
    layout, unit = found.layouts[name], found.unit
    return by_row(data_of(found)[0][name], layout, unit), by_row(made, layout, unit)


def infers_latents(candidate: Candidate) -> bool:
    """Return whether a model was given with a guide, and has latents."""
    if not has_guide(candidate):
        return False
    with _source(candidate, candidate.program).open(0) as tiles:
        return bool(tiles.example.structure.latents)


def has_guide(candidate: Candidate) -> bool:
    """Return whether a model was given with a guide, and one that is not its prior."""
    if has_prior_as_guide(candidate.program):
        return False
    try:
        as_program(candidate.program)
    except InputError:
        return False
    return True


def site_of(observed: Sequence[str], site: str | None) -> str:
    """Return the name of the observed site that is meant.

    Raises:
        InputError: there is no such site, or there are several and none is named.
    """
    if site is None and len(observed) == 1:
        return observed[0]
    if site is None:
        raise InputError(
            f"the model observes {', '.join(map(repr, observed)) or 'nothing'}",
            subject="site",
            expected="one observed site",
            remedy="name one: site=...",
        )
    if site not in observed:
        raise unknown(f"there is no observed site {site!r}", site, observed, subject="site")
    return site


def by_row(values: Tensor, layout: SiteLayout, unit: str | None) -> Tensor:
    """Return values ``plates | event`` with the rows first: the units, or else the outermost plate.

    Raises:
        InputError: the data have no rows.
    """
    axis = layout.axis(unit if unit in layout.plates else next(iter(layout.plates), None))
    if axis is None:
        raise InputError(
            "the observed site lies in no plate, so the data have no rows",
            subject="model",
            expected="observed sites in a plate (`with pyro.plate(...):`)",
        )
    return values.movedim(axis - 1, 0)


def _taken_by(verb: Callable[..., Any], candidate: Candidate) -> dict[str, Any]:
    """Return those options of a model's evidence that another verb takes, too."""
    own = {"method", "num_particles"}
    known = inspect.signature(verb).parameters.keys() - own
    return {name: value for name, value in candidate.options.items() if name in known}


def _source(candidate: Candidate, program: Any) -> Source:
    given = candidate.options
    call = (given.get("args"), given.get("kwargs"), given.get("unit"), given.get("device", "auto"))
    return Source(program, candidate.data, *call, 1)
