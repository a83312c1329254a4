"""Data that a program predicts: from the prior, or from the guide's draws for given data."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.util import enable_validation
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.contract import Program, as_program
from pyro_vae.program.examination import refusing_one_datum
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.one_datum import check_batch_dimension
from pyro_vae.program.redrawing import redrawing
from pyro_vae.program.trace import Site, drawn_sites, observed_sites, run, run_at, sample_sites


@dataclass(frozen=True)
class Prediction:
    """Hold a draw of an observed site, and the mean of its distribution, ``batch | event``.

    ``mean`` is the draw if the distribution has no mean. ``argument`` is the number of the argument that
    the site observes unchanged, or None.
    """

    value: Tensor
    mean: Tensor
    argument: int | None = None


@contextmanager
def _evaluation(program: Program, batch: Any, seed: int | None) -> Iterator[None]:
    """Run a program within the block, and restore its state."""
    quiet = pyro.validation_enabled(False)
    with undisturbed(program, seed), torch.no_grad(), quiet, refusing_one_datum(program, batch):
        yield


def prior_samples(program: Any, *batch: Any, seed: int | None = None) -> dict[str, Prediction]:
    """Draw latents from the prior and then data, as many as ``batch`` has rows.

    The batch gives the number of rows and their shape. Its values do not matter to a model that uses them
    for ``obs=`` alone; any other use conditions on them.

    Raises:
        InputError: a latent's prior is flat.

    >>> from pyro_vae.models import FactorAnalysis
    >>> prior_samples(FactorAnalysis((3,), 2), torch.zeros(5, 3))["x"].value.shape
    torch.Size([5, 3])
    """
    target = as_program(program)
    with _evaluation(target, batch, seed):
        observed = run("model", target.model, batch, {})
        check_batch_dimension(observed, batch)
        trace = run("model", redrawing(target.model), batch, {})
    return _predictions(trace, observed, batch)


def reconstructions(program: Any, *batch: Any, seed: int | None = None) -> dict[str, Prediction]:
    """Draw latents from the guide, given the batch, and then new data.

    Raises:
        InputError: the program has no latent, so that new data would be any data.

    >>> from pyro_vae.models import FactorAnalysis
    >>> reconstructions(FactorAnalysis((3,), 2), torch.zeros(5, 3))["x"].mean.shape
    torch.Size([5, 3])
    """
    target = as_program(program)
    with _evaluation(target, batch, seed):
        enable_validation(True)  # the program's own checks of its data, and no more
        guide_trace = run("guide", target.guide, batch, {})
        if not drawn_sites(guide_trace):
            raise InputError(
                "the guide draws no latent, so there is nothing to reconstruct data from",
                subject="guide",
                expected="a guide with a latent",
            )
        observed = run("model", poutine.replay(target.model, guide_trace), batch, {})
        check_batch_dimension(observed, batch)
        model = poutine.replay(redrawing(target.model), guide_trace)
        trace = run("model", model, batch, {})
    return _predictions(trace, observed, batch)


def observed_arguments(program: Any, *batch: Any) -> list[int]:
    """Return the numbers of the arguments that a model observes unchanged.

    >>> from pyro_vae.models import FactorAnalysis
    >>> observed_arguments(FactorAnalysis((3,), 2), torch.zeros(5, 3))
    [0]
    """
    target = as_program(program)
    with undisturbed(target), torch.no_grad(), pyro.validation_enabled(False):
        guide_trace = run("guide", target.guide, batch, {})
        observed = observed_sites(run_at(guide_trace, target.model, batch, {}))
    values = {id(site["value"]) for site in observed.values()}
    return [number for number, argument in enumerate(batch) if id(argument) in values]


MEAN_DRAWS = 1000  # for a mean that no distribution has


def latent_means(program: Any, *batch: Any, seed: int | None = None) -> dict[str, Tensor]:
    """Return the guide's mean of each latent site, ``batch | event``; of a class, a draw.

    If the guide maps auxiliary draws onto latents, as AutoGuides do, or a latent's distribution depends on
    the draw of another, no distribution has that mean: it is the mean of 1,000 draws.

    >>> from pyro_vae.models import FactorAnalysis
    >>> latent_means(FactorAnalysis((3,), 2), torch.zeros(5, 3))["z"].shape
    torch.Size([5, 2])
    """
    target = as_program(program)
    with _evaluation(target, batch, seed):
        enable_validation(True)  # the program's own checks of its data, and no more
        trace = run("guide", target.guide, batch, {})
        sites = {n: s for n, s in drawn_sites(trace).items() if not s["infer"].get("is_auxiliary")}
        means = {name: _mean(site).detach() for name, site in sites.items()}
        if any(
            mean.dim() and bool((mean == mean[:1]).all()) for mean in means.values()
        ):  # one datum for all
            check_batch_dimension(run_at(trace, target.model, batch, {}), batch)
        again = drawn_sites(run("guide", target.guide, batch, {}))
        unsure = [n for n in sites if n not in again or not _is_same(means[n], _mean(again[n]))]
        if len(drawn_sites(trace)) > 1 and unsure:
            means |= _means_of_draws(target.guide, batch, unsure)
    return means


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def _means_of_draws(guide: Any, batch: Any, names: list[str]) -> dict[str, Tensor]:
    totals: dict[str, Tensor] = {}
    for _ in range(MEAN_DRAWS):
        trace = run("guide", guide, batch, {})
        for name in names:
            value = _mean(sample_sites(trace)[name]).detach()
            totals[name] = totals[name] + value if name in totals else value.clone()
    return {name: total / MEAN_DRAWS for name, total in totals.items()}


def _predictions(
    trace: poutine.Trace, observed: poutine.Trace, batch: tuple[Any, ...]
) -> dict[str, Prediction]:
    names = observed_sites(observed)
    given = {id(argument): number for number, argument in enumerate(batch)}
    return {
        name: Prediction(site["value"], _mean(site), given.get(id(names[name]["value"])))
        for name, site in sample_sites(trace).items()
        if name in names
    }


def _mean(site: Site) -> Tensor:
    try:
        mean: Tensor = site["fn"].mean
    except Exception:  # of a distribution without one, or a user's own
        return site["value"]
    return site["value"] if mean.isnan().all() else mean  # torch gives a class the mean NaN
