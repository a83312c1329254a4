"""The verb ``latents``: where each row lies in the latent space."""

from collections.abc import Iterator
from typing import Any

import torch

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1, true_or_false
from pyro_vae.inference.evidence.draws import DrawsPosterior
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.latent_space.of_rows import Latents, joined, of_posterior
from pyro_vae.inference.posterior.methods import as_posterior_method
from pyro_vae.inference.posterior.posterior import posterior
from pyro_vae.inference.posterior.source import Source
from pyro_vae.program.trace import latent_sites

CHECKS: dict[str, checks.Check] = {
    "method": checks.instance((str, DrawsPosterior, type), "a method that draws, or its name"),
    "num_draws": at_least_1,
    "num_particles": at_least_1,
    "unit": checks.optional(checks.plate),
    "seed": checks.optional(checks.seed),
    "progress": checks.optional(true_or_false),
}
NUMBERS_AT_ONCE = 2**27  # of all particles: half a GB


def latents(
    program: Any,
    data: Any,
    *,
    method: str | DrawsPosterior = Importance(),  # noqa: B008 - it is frozen
    num_draws: int = 10,
    num_particles: int = 1000,
    unit: str | None = None,
    seed: int | None = 0,
    device: str | torch.device = "auto",
    progress: bool | None = None,
) -> Latents:
    """Return posterior mean, standard deviation and draws of each row's own latents.

    They come from :func:`pyro_vae.posterior`, for so many rows at a time that memory stays bounded.
    Of a latent whose values are classes there is the probability of each. Latents that all rows share are
    left out: ``posterior`` has them.

    Args:
        program: a model and guide.
        data: as :func:`pyro_vae.posterior` takes them; a split gives row numbers, ids and labels, too.
        method: as there.
        num_draws: kept of each row.
        num_particles: K, the weighted draws that all figures come from.
        unit: the plate of the rows.
        seed: of the draws.
        device: where to compute. The result is on the CPU.
        progress: whether to draw a bar.

    Raises:
        InputError: rows have no latents of their own; or as ``posterior``.

    >>> from pyro_vae.models import FactorAnalysis
    >>> found = latents(FactorAnalysis((3,), 2), torch.randn(5, 3), num_draws=4, num_particles=50)
    >>> found.mean["z"].shape, found.draws["z"].shape
    (torch.Size([5, 2]), torch.Size([4, 5, 2]))
    """
    checks.check_arguments(CHECKS, locals())
    method = as_posterior_method(method)
    options: dict[str, Any] = {
        "method": method,
        "unit": unit,
        "device": device,
        "progress": progress,
    }
    num_particles = max(num_particles, num_draws)
    found = []
    source = Source(program, data, None, None, unit, device, num_particles)
    for number, part in enumerate(_parts(source, method, seed)):
        own = None if seed is None else (seed + number) % 2**32
        drawn = posterior(program, part, num_draws=num_particles, seed=own, **options)
        found.append(of_posterior(drawn, num_draws))
    return joined(found).with_keys(data)


def _parts(source: Source, method: DrawsPosterior, seed: int | None) -> Iterator[Any]:
    """Yield the data, a part at a time where all particles of all rows would take too much memory."""
    with source.open(seed) as tiles:
        example = tiles.example
        if method.uses_density and (flat := example.structure.flat):
            raise InputError(
                f"the prior of {flat[0]!r} is flat, so its posterior cannot be weighed",
                subject=flat[0],
                remedy='pass method="guide" (--method guide) for the codes of the guide',
            )
        cut = example.by_rows and example.structure.unit is not None
        rows, latents = tiles.rows, latent_sites(example.one()[1])
        units = example.structure.num_units
        numbers = sum(site["value"].numel() for site in latents.values()) / units
    at_once = max(1, int(NUMBERS_AT_ONCE / max(1, numbers * source.num_particles)))
    if rows is None or not cut or rows.num_units <= at_once:
        yield source.data
        return
    for index in torch.arange(rows.num_units).split(at_once):
        batch = next(rows.take(index, len(index)))
        yield batch if len(batch) > 1 else batch[0]
