"""The log-likelihood of each row at each draw: with a row's own latents integrated out, or given them."""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from pyro import poutine
from pyro.distributions import MultivariateStudentT
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.posterior.at_draws import in_parts, placed, trace_of
from pyro_vae.inference.posterior.predictive import of_units
from pyro_vae.inference.posterior.rows import Rows, score_rows
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.probe import moves
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import sample_sites
from pyro_vae.program.unconstrained import Coordinates, Placement

if TYPE_CHECKING:
    from pyro_vae.inference.posterior.result import Posterior

FREEDOM = 5.0  # of the proposals, Student's t: its tails bound the weights
U = "_coordinates"
CONDITIONAL = "pass conditional=True for the log-likelihood given all latents"


def given_all(posterior: "Posterior", seed: int | None) -> Tensor:
    """Return log p(x_n | z) of each row at each draw of all latents, (draws, rows)."""
    rows = Rows.of(posterior)
    rows.check()
    parts = []
    with posterior.source.open(seed) as tiles:
        for number, call in enumerate(tiles):
            structure = replace(rows.structure(call.structure), enumerated=())
            some = of_units(posterior, posterior.latents, tiles.index[number])
            values = placed(some, posterior.layouts, call)
            parts.append(_scores(call, structure, posterior.latents, values).cpu())
    return torch.cat(parts, -1)


def integrated(posterior: "Posterior", num_inner: int, seed: int | None) -> Tensor:
    """Return log p(x_n | shared latents) of each row at each draw, (draws, rows).

    A row's own latents are integrated out: those that the model sums out exactly, the others by
    importance sampling in unconstrained coordinates. Half of the draws come from a multivariate t
    distribution with the mean and covariance of the row's posterior draws, and half from the prior given
    the shared latents: where these make it narrow (a group's effect, and a spread near 0), none of the
    first would hit it.

    Raises:
        InputError: the rows share no latent, or depend on one another's latents.
    """
    rows = Rows.of(posterior)
    rows.check()
    if not rows.shared:
        raise InputError(
            f"the units of plate {posterior.unit!r} share no latent, so the log-likelihood of a row is its "
            "log evidence, the same at every draw",
            subject="posterior",
            remedy="use log_evidence(program, data), or conditional=True for that given a unit's latents",
        )
    with posterior.source.open(seed) as tiles:
        call = tiles.example
        structure = rows.structure(call.structure)
        _check_summed_out(call.structure, rows)
        draws = {n: v for n, v in posterior.latents.items() if n not in structure.enumerated}
        _check_rows_are_independent(posterior, call, structure, rows, draws)
        values = placed(draws, posterior.layouts, call)
        if all(name in rows.shared for name in draws):
            return _scores(call, structure, rows.shared, values).cpu()
        return _by_sampling(call, structure, rows, values, num_inner).cpu()


def _check_summed_out(structure: Structure, rows: Rows) -> None:
    outside = [name for name in structure.enumerated if name in rows.shared]
    if outside:
        raise InputError(
            f"{outside[0]!r} is summed out and shared by rows, so the rows depend on one another given the "
            "other latents",
            subject=outside[0],
            remedy=CONDITIONAL,
        )


def _check_rows_are_independent(
    posterior: "Posterior",
    call: BoundProgram,
    structure: Structure,
    rows: Rows,
    draws: Mapping[str, Tensor],
) -> None:
    """Raise InputError where a row's density changes with the latents of other rows."""
    half = torch.arange(structure.num_units) % 2 == 1
    one = {name: value[:1] for name, value in draws.items()}
    mixed = dict(one)
    for name in set(rows.own) & draws.keys():
        axis = posterior.layouts[name].axis(rows.plate) or 0
        there = half.reshape(-1, *(1,) * (draws[name].dim() - axis - 1))
        mixed[name] = torch.where(there, draws[name][-1:], one[name])
    before, after = (
        _scores(call, structure, rows.shared, placed(values, posterior.layouts, call))
        for values in (one, mixed)
    )
    if bool((moves(before, after) & ~half.to(before.device)).any()):
        raise InputError(
            f"the density of a row of plate {structure.unit!r} depends on the latents of other rows, so it "
            "has none with its own latents integrated out",
            subject=structure.unit,
            remedy=CONDITIONAL,
        )


def _scores(
    call: BoundProgram,
    structure: Structure,
    leave_out: Collection[str],
    values: Mapping[str, Tensor],
) -> Tensor:
    """Return the rows' log-densities, (draws, rows), at values of all latents.

    Args:
        call: the program on all rows.
        structure: whose units are the rows.
        leave_out: latents whose density does not count.
        values: by latent, in the shapes of the program.
    """

    def run(count: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        trace, sum_out = trace_of(given), bool(structure.enumerated)
        joint = call.model(count, lambda m: poutine.replay(m, trace=trace), sum_out)
        scores = score_rows(joint, structure, count, leave_out)
        return {"scores": scores if call.vectorized else scores[0]}

    num_draws = len(next(iter(values.values())))
    return in_parts(call, run, num_draws, values)["scores"]


def _joint_and_prior(
    call: BoundProgram,
    structure: Structure,
    shared: Mapping[str, Tensor],
    u: Tensor,
    coordinates: Coordinates,
) -> tuple[Tensor, Tensor]:
    """Return log p(x_n, u_n | shared) and log p(u_n | shared) of each row, (draws, rows), in float64."""
    leave_out = {"joint": {*shared}, "prior": {*shared, *call.structure.observed}}

    def run(count: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        u = given.pop(U)
        trace, sum_out = trace_of(given), bool(structure.enumerated)
        place = Placement(coordinates, u if call.vectorized else u[None])
        joint = call.model(count, lambda m: poutine.replay(place(m), trace=trace), sum_out)
        scores = {
            name: score_rows(joint, structure, count, of) + place.log_jacobian
            for name, of in leave_out.items()
        }
        return {n: score if call.vectorized else score[0] for n, score in scores.items()}

    found = in_parts(call, run, len(u), {**shared, U: u})
    return found["joint"].double(), found["prior"].double()


def _by_sampling(
    call: BoundProgram,
    structure: Structure,
    rows: Rows,
    values: Mapping[str, Tensor],
    num_inner: int,
) -> Tensor:
    """Return the rows' log-densities with their own latents integrated out, (draws, rows)."""
    coordinates = _coordinates(call, structure, rows, values)

    def run(count: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        trace = call.model(count, lambda model: poutine.replay(model, trace=trace_of(given)))
        u = coordinates.of(sample_sites(trace))
        return {U: u if call.vectorized else u[0]}

    num_draws = len(next(iter(values.values())))
    near = _proposal(in_parts(call, run, num_draws, values)[U])
    shared = {name: values[name] for name in rows.shared}
    from_prior = num_inner - num_inner // 2
    shares = torch.tensor([num_inner - from_prior, from_prior]).double().div(num_inner).log()
    totals = []
    for number in range(num_inner):
        u = near.sample((num_draws,))  # (draws, rows, D)
        if number < from_prior:  # a run that is given no latent of a row draws it
            u = in_parts(call, run, num_draws, shared)[U]
        log_joint, log_prior = _joint_and_prior(call, structure, shared, u, coordinates)
        proposal = torch.logaddexp(near.log_prob(u.double()) + shares[0], log_prior + shares[1])
        totals.append(log_joint - proposal)
    return torch.stack(totals).logsumexp(0) - math.log(num_inner)


def _coordinates(
    call: BoundProgram, structure: Structure, rows: Rows, values: Mapping[str, Tensor]
) -> Coordinates:
    """Return the layout of the rows' own latents, without those that are summed out."""
    one = {name: value[:1] if call.vectorized else value[0] for name, value in values.items()}
    sites = sample_sites(call.model(1, lambda m: poutine.replay(m, trace=trace_of(one))))
    own = {name: sites[name] for name in rows.own if name in values}
    return Coordinates(own, structure, call.vectorized)


def _proposal(u: Tensor) -> MultivariateStudentT:
    """Return a t distribution for each row with the moments of its draws, (draws, rows, D)."""
    u = u.double()
    off = u - u.mean(0)
    covariance = torch.einsum("knd,kne->nde", off, off) / max(1, len(u) - 1)
    scale = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=1e-12)
    covariance = covariance + torch.diag_embed(1e-6 * scale)
    freedom = torch.full(u.shape[1:2], FREEDOM, dtype=u.dtype, device=u.device)
    return MultivariateStudentT(freedom, u.mean(0), torch.linalg.cholesky(covariance))
