"""What is missing from data, given what was observed: by the guide's draws and their weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.checks.support import check_proposal
from pyro_vae.inference.evidence.tiles import tiled
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.particles import read_particles
from pyro_vae.program.trace import observed_sites

UNITS = {"cpu": 16, "cuda": 128}  # of a tile: K draws of all their values are held at once


@dataclass(frozen=True)
class Imputation:
    """Data with what is missing filled in; what was observed is everywhere as it was.

    Attributes:
        mean: the posterior mean of each value, ``N | X``; of names by number it means nothing.
        scale: its posterior standard deviation, ``N | X``; 0 where it was observed.
        mode: the most probable of each value, ``N | X``, where values recur, as names and counts do.
        quantiles: ``Q, N | X``, of each value by itself.
        draws: ``S, N | X``, each of all values of a datum together.
        ess: effective sample size of the weights, ``N``; of 1 all draws are the same.
    """

    mean: Tensor
    scale: Tensor
    mode: Tensor
    quantiles: Tensor
    draws: Tensor
    ess: Tensor


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
    """p(x_missing | x_observed), where NaN in the data is what is missing.

    By self-normalised importance sampling: with z_k from the guide, given what was observed, and x_k from
    p(x | z_k), every expectation is that under weights w_k proportional to p(x_observed, z_k) / q(z_k).
    Its error shrinks as 1 / sqrt(ess).

    Args:
        program: a model and guide that take NaN, such as a VAE whose likelihood is
            :class:`pyro_vae.likelihoods.Missing`.
        data: a tensor, a tuple of tensors of equal length, a Dataset, a DataLoader or a split.
        num_particles: K.
        num_draws: S, drawn from the K with their weights.
        quantiles: which, each between 0 and 1.
        unit: the plate of the data; by default the outermost that holds every site.
        seed: of the draws; by default they go on from torch's generator, without advancing it.
        device: where to compute.

    :raises InputError: the program does not fit the data, observes more than one site, or can neither be
        weighted nor drawn from many times at once.

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
    for name, count in (("num_particles", num_particles), ("num_draws", num_draws)):
        at_least_1(name, count)
    levels = torch.tensor(list(quantiles), dtype=torch.float64)
    if not ((levels >= 0) & (levels <= 1)).all():
        raise InputError(f"quantiles must lie between 0 and 1, not {list(quantiles)}")
    with tiled(program, data, unit, seed, device, UNITS) as tiles:
        parts = [_of_tile(call, num_particles, num_draws, levels) for call in tiles]
    return Imputation(
        *(
            torch.cat([getattr(part, name) for part in parts], dim)
            for name, dim in (
                ("mean", 0),
                ("scale", 0),
                ("mode", 0),
                ("quantiles", 1),
                ("draws", 1),
                ("ess", 0),
            )
        )
    )


def _of_tile(call: BoundProgram, count: int, num_draws: int, levels: Tensor) -> Imputation:
    structure = call.structure
    if (
        structure.unit is None
        or structure.dim != -1
        or structure.max_plate_nesting != 1
        or structure.enumerated
    ):
        raise InputError(
            "data are filled in where one plate holds all sites, and nothing is summed out"
        )
    if len(structure.observed) != 1 or not call.vectorized:
        raise InputError(
            f"data are filled in at one observed site, by draws made together; the model observes "
            f"{', '.join(map(repr, structure.observed))}"
            + ("" if call.vectorized else " and takes one draw a call")
        )
    call = check_proposal(call)
    structure = call.structure
    guide = call.guide(count)
    joint = call.joint(count, guide)
    log_weights = read_particles(joint, guide, structure, count).log_weights  # (K, N)
    if log_weights.isnan().any():
        raise InputError(
            "the data hold nan, and the guide or the model makes NaN of them: gaps are filled in by "
            "programs that read them (likelihood Missing, encoder MaskedInput)"
        )
    weights = log_weights.softmax(0)
    (site,) = observed_sites(joint).values()
    x, fn = site["value"], site["fn"]
    missing = _gaps(call, x)
    drawn = torch.where(missing, fn.sample().expand(count, *x.shape), x)  # (K, N | X)
    try:
        means = torch.where(missing, fn.mean, x).expand_as(drawn)
    except NotImplementedError:
        means = drawn
    w = weights.reshape(*weights.shape, *(1,) * fn.event_dim)
    mean = (w * means).sum(0)
    ordered, below = _in_order(drawn, w.expand_as(drawn))
    index = torch.multinomial(weights.T, num_draws, replacement=True).T  # (S, N)
    return Imputation(
        torch.where(missing, mean, x),
        torch.where(missing, (w * (drawn - mean).square()).sum(0).sqrt(), 0.0),
        _mode(ordered, below),
        _quantiles(ordered, below, levels.to(drawn)),
        drawn[index, torch.arange(len(x), device=x.device)],
        1 / weights.square().sum(0),
    )


def _gaps(call: BoundProgram, observed: Tensor) -> Tensor:
    """Where the data have no value: where NaN is observed, or was given and something else observed for it.

    :raises InputError: values are missing from the data, but not from what is observed.
    """
    tensors = [a for a in call.args if isinstance(a, Tensor)]
    if observed.isnan().any() or not any(tensor.isnan().any() for tensor in tensors):
        return observed.isnan()
    for tensor in tensors:
        missing = tensor.isnan()
        if tensor.shape == observed.shape and bool(((tensor == observed) | missing).all()):
            return missing
    raise InputError(
        "the data have gaps, but what the model observes has none, nor are its values those of the data, "
        "so nothing says where to fill in: observe the data as they are, with 0 or NaN for what is missing"
    )


def _in_order(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Values (K, ...) from the least to the largest, and the weight at or below each."""
    ordered, order = values.sort(0)
    return ordered, weights.gather(0, order).cumsum(0)


def _mode(ordered: Tensor, below: Tensor) -> Tensor:
    """The value with the most weight on it, of each column; of those that tie the least."""
    is_new = torch.ones_like(ordered, dtype=torch.bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    before = torch.cat([torch.zeros_like(below[:1]), below[:-1]])
    on_value = below - torch.where(is_new, before, 0.0).cummax(0).values
    return ordered.gather(0, on_value.argmax(0, keepdim=True))[0]


def _quantiles(ordered: Tensor, below: Tensor, levels: Tensor) -> Tensor:
    """The least value with at least so much weight at or below it, of each column."""
    last = len(ordered) - 1
    at = torch.stack([(below < level * below[-1]).sum(0).clamp(max=last) for level in levels])
    return ordered.gather(0, at)
