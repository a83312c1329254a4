"""Imputation of missing values, by the guide's draws and their weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.device import for_device
from pyro_vae.errors import InputError, at_least_1, must_be
from pyro_vae.inference.checks.support import check_proposal
from pyro_vae.inference.evidence.tiles import open_tiles
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.particles import read_particles
from pyro_vae.program.trace import observed_sites
from pyro_vae.program.vmap import map_runs

UNITS_PER_TILE = {"cpu": 16, "cuda": 128}  # K draws of all their values are in memory together
UNIT_DIMS = {"mean": 0, "scale": 0, "mode": 0, "quantiles": 1, "draws": 1, "ess": 0}


@dataclass(frozen=True)
class Imputation:
    """Hold data with imputed values; observed values are the same everywhere.

    Attributes:
        mean: the posterior mean of each value, ``N | X``; meaningless for categories.
        scale: its posterior standard deviation, ``N | X``; 0 where it was observed.
        mode: the most probable value, ``N | X``, for values that recur, such as categories and counts.
        quantiles: ``Q, N | X``, of each value separately.
        draws: ``S, N | X``, of all values of a datum jointly.
        ess: effective sample size of the weights, ``N``; with 1 all draws are the same.
    """

    mean: Tensor
    scale: Tensor
    mode: Tensor
    quantiles: Tensor
    draws: Tensor
    ess: Tensor


def _check_level(name: str, level: Any) -> None:
    if checks.number(name, level, least=0) > 1:
        raise must_be(name, "between 0 and 1", level)


CHECKS: dict[str, checks.Check] = {
    "num_particles": at_least_1,
    "num_draws": at_least_1,
    "quantiles": checks.each(_check_level, "a list of numbers between 0 and 1", least=1),
    "unit": checks.optional(checks.plate),
    "seed": checks.optional(checks.seed),
}


def impute(
    program: Any,
    data: Any,
    *,
    num_particles: int = 1000,
    num_draws: int = 20,
    quantiles: Sequence[float] = (0.05, 0.5, 0.95),
    unit: str | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
) -> Imputation:
    """Estimate p(x_missing | x_observed), where NaN in the data is missing.

    This is self-normalised importance sampling: with z_k from the guide, given the observed values, and x_k
    from p(x | z_k), expectations are taken under weights w_k proportional to p(x_observed, z_k) / q(z_k).
    Its error shrinks as 1 / sqrt(ess).

    Args:
        program: a model and guide that take NaN, such as a VAE whose likelihood is
            :class:`pyro_vae.likelihoods.Missing`.
        data: a tensor, a tuple of tensors of equal length, a Dataset, a DataLoader or a split.
        num_particles: K.
        num_draws: S, drawn from the K with their weights.
        quantiles: their levels, between 0 and 1.
        unit: the plate of the data; by default the outermost that holds every site.
        seed: of the draws; by default they continue from torch's generator, without advancing it.
        device: where to compute.

    Raises:
        InputError: the program does not fit the data, observes more than one site, sums a latent out, or
            has more than one plate; nothing shows which values are missing.

    Source: P.-A. Mattei, J. Frellsen, "MIWAE: deep generative modelling and imputation of incomplete data
    sets", 2018, https://arxiv.org/abs/1812.02633.

    >>> from functools import partial
    >>> from pyro_vae.likelihoods import Missing
    >>> from pyro_vae.models import VAE
    >>> from pyro_vae.networks import MaskedInput
    >>> vae = VAE((3,), 2, likelihood=Missing, encoder=MaskedInput)
    >>> x = torch.tensor([[0.5, float("nan"), 1.0]])
    >>> impute(vae, x, num_particles=100).draws[:, 0, [0, 2]].unique(dim=0)
    tensor([[0.5000, 1.0000]])
    """
    checks.check_arguments(CHECKS, locals())
    levels = torch.as_tensor(quantiles, dtype=torch.float64)
    with open_tiles(program, data, unit, seed, device, _units_per_tile) as tiles:
        parts = [
            _impute_tile(bound_program, num_particles, num_draws, levels) for bound_program in tiles
        ]
    return Imputation(
        **{
            name: torch.cat([getattr(part, name) for part in parts], dim)
            for name, dim in UNIT_DIMS.items()
        }
    )


def _units_per_tile(example: BoundProgram) -> int:
    return for_device(UNITS_PER_TILE, example.device)


def _impute_tile(
    bound_program: BoundProgram, num_particles: int, num_draws: int, levels: Tensor
) -> Imputation:
    _check(bound_program)
    particles = _draw(check_proposal(bound_program), num_particles)
    if particles.log_weights.isnan().any():
        raise _makes_nan()
    weights, x = particles.log_weights.softmax(0), particles.observed
    missing = _gaps(bound_program, x)
    values = torch.where(missing, particles.values, x)  # (K, N | X)
    means = torch.where(missing, particles.means, x)
    w = weights.reshape(*weights.shape, *(1,) * (x.dim() - 1))
    mean = (w * means).sum(0)
    scale = (w * (values - mean).square()).sum(0).sqrt()
    ascending, cumulative = _sorted(values, w.expand_as(values))
    chosen = torch.multinomial(weights.T, num_draws, replacement=True).T  # (S, N)
    return Imputation(
        torch.where(missing, mean, x),
        torch.where(missing, scale, 0.0),
        _mode(ascending, cumulative),
        _quantiles(ascending, cumulative, levels.to(values)),
        values[chosen, torch.arange(len(x), device=x.device)],
        1 / weights.square().sum(0),
    )


def _makes_nan() -> InputError:
    return InputError(
        "the data hold nan, and the guide or the model makes NaN of them",
        subject="data",
        expected="a program that reads gaps (likelihood Missing, encoder MaskedInput)",
    )


def _check(bound_program: BoundProgram) -> None:
    """Raise InputError unless one plate holds all sites, and one site is observed."""
    structure = bound_program.structure
    if structure.enumerated:
        raise InputError(
            f"the model sums out {structure.enumerated[0]!r}, and impute needs its values",
            subject=structure.enumerated[0],
            remedy="draw it in the guide",
        )
    if structure.unit is None or structure.dim != -1 or structure.max_plate_nesting != 1:
        raise InputError(
            "the sites lie in several plates, or in none",
            subject="unit",
            expected="one plate with all sites",
        )
    if len(structure.observed) != 1:
        raise InputError(
            f"the model observes {', '.join(map(repr, structure.observed))}",
            subject=structure.observed[-1] if structure.observed else None,
            expected="one observed site",
        )


@dataclass(frozen=True)
class _Particles:
    """Hold K particles of N units at the observed site."""

    log_weights: Tensor  # (K, N)
    values: Tensor  # drawn from p(x | z), (K, N | X)
    means: Tensor  # of p(x | z), or the values where they have no mean, (K, N | X)
    observed: Tensor  # (N | X)


def _draw(bound_program: BoundProgram, num_particles: int) -> _Particles:
    """Draw latents from the guide, and values from the model: together, by vmap or one by one."""
    if bound_program.vectorized:
        log_weights, values, means, observed = _run(bound_program, num_particles)
        return _Particles(log_weights, values, means, observed)

    def one_particle() -> tuple[Tensor, ...]:
        log_weights, *rest = _run(bound_program, 1)
        return log_weights[0], *rest

    drawn = bound_program.try_vmap(lambda: map_runs(one_particle, num_particles))
    if drawn is not None:
        log_weights, values, means, observed = drawn
        return _Particles(log_weights, values, means, observed[0])
    parts = [one_particle() for _ in range(num_particles)]
    log_weights, values, means = (torch.stack(x) for x in list(zip(*parts, strict=True))[:3])
    return _Particles(log_weights, values, means, parts[0][-1])


def _run(bound_program: BoundProgram, num_chains: int) -> tuple[Tensor, ...]:
    guide = bound_program.guide(num_chains)
    joint = bound_program.joint(num_chains, guide)
    log_weights = read_particles(joint, guide, bound_program.structure, num_chains).log_weights
    (site,) = observed_sites(joint).values()
    fn, observed = site["fn"], site["value"]
    shape = (num_chains, *observed.shape) if bound_program.vectorized else observed.shape
    try:
        drawn = pyro.sample("_imputed", fn)  # a site, so that vmap draws it for each particle
    except RuntimeError:
        if bool(log_weights.isnan().any()):
            raise _makes_nan() from None
        raise
    values = drawn.expand(shape)
    try:
        means = fn.mean.expand(shape)
    except NotImplementedError:
        means = values
    return log_weights, values, means, observed


def _gaps(bound_program: BoundProgram, observed: Tensor) -> Tensor:
    """Return where values are missing: where the model observes NaN, or has replaced NaN in its argument.

    Raises:
        InputError: the data have gaps, and the observed values do not show them.
    """
    tensors = [a for a in bound_program.args if isinstance(a, Tensor)]
    if observed.isnan().any() or not any(tensor.isnan().any() for tensor in tensors):
        return observed.isnan()
    for tensor in tensors:
        missing = tensor.isnan()
        if tensor.shape == observed.shape and bool(((tensor == observed) | missing).all()):
            return missing
    raise InputError(
        "the data have gaps, but the model observes other values, without gaps",
        subject="data",
        remedy="observe the data unchanged, with 0 or NaN for missing values",
    )


def _sorted(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return values (K, ...) in ascending order, and the cumulative weight of each."""
    ascending, order = values.sort(0)
    return ascending, weights.gather(0, order).cumsum(0)


def _mode(ascending: Tensor, cumulative: Tensor) -> Tensor:
    """Return the value with the largest weight in each column; of several, the smallest."""
    is_first = torch.ones_like(ascending, dtype=torch.bool)
    is_first[1:] = ascending[1:] != ascending[:-1]
    previous = torch.cat([torch.zeros_like(cumulative[:1]), cumulative[:-1]])
    on_value = cumulative - torch.where(is_first, previous, 0.0).cummax(0).values
    return ascending.gather(0, on_value.argmax(0, keepdim=True))[0]


def _quantiles(ascending: Tensor, cumulative: Tensor, levels: Tensor) -> Tensor:
    """Return the smallest value in each column whose cumulative weight reaches each level."""
    last = len(ascending) - 1
    at = torch.stack(
        [(cumulative < level * cumulative[-1]).sum(0).clamp(max=last) for level in levels]
    )
    return ascending.gather(0, at)
