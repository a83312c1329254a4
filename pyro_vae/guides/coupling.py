"""Which latents, or cells of a latent, depend on each other given the data: where d^2 log p is not 0."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.probe import moves
from pyro_vae.program.trace import run

CELLS = 8  # of a latent that are moved, one after another
MOST_LATENTS = 64  # that are moved, one after another


def related_latents(
    target: Program,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    draws: Sequence[Mapping[str, Tensor]],
) -> list[tuple[str, str]]:
    """Return the pairs of latents where the gradient at one moves with the other; none of very many.

    A recorded graph knows what a site's distribution depends on. Here an observed value that is computed
    from latents counts, too, such as the residual of a forecast.

    Args:
        target: the program.
        args: the arguments of a call.
        kwargs: its named arguments.
        draws: two draws of all latents by name, from the prior.
    """
    values, others = draws
    if len(values) > MOST_LATENTS:
        return []
    pairs = []
    with undisturbed(target, 0), pyro.validation_enabled(False):
        before = _gradients(target, args, kwargs, values)
        for name in values:
            now = _gradients(target, args, kwargs, {**values, name: others[name]})
            pairs += [(name, n) for n in values if n != name and moves(before[n], now[n]).any()]
    return pairs


def has_coupled_cells(
    target: Program,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    draws: Sequence[Mapping[str, Tensor]],
    name: str,
    after: Sequence[str],
    summed_out: Sequence[str],
) -> bool:
    """Return whether a latent's cells depend on each other, given all latents but those drawn ``after`` it.

    Two cells do so if d^2 log p / dz_i dz_j is not 0, or if both have such a derivative together with the
    same cell of a latent that is drawn after them or summed out, such as the component of a mixture. Some
    cells are tried: each is moved, and it shows where the gradient of the log-density moves with it.

    Args:
        target: the program.
        args: the arguments of a call.
        kwargs: its named arguments.
        draws: two draws of all latents by name, from the prior.
        name: of the latent.
        after: names of latents.
        summed_out: names of discrete latents.
    """
    values, others = draws[0], draws[1][name]
    with undisturbed(target, 0), pyro.validation_enabled(False):
        before = _gradients(target, args, kwargs, values)
        num_cells = before[name].numel()
        generator = torch.Generator().manual_seed(0)
        touched: list[dict[str, Tensor]] = []
        for cell in torch.randperm(num_cells, generator=generator)[:CELLS].tolist():
            moved = values[name].reshape(num_cells, -1).clone()
            moved[cell] = others.reshape(num_cells, -1)[cell]
            now = _gradients(
                target, args, kwargs, {**values, name: moved.reshape(values[name].shape)}
            )
            touched.append({n: moves(before[n], now[n]) for n in (name, *after)})
            touched[-1][name].view(-1)[cell] = False
            if touched[-1][name].any():
                return True
        for other in _with_cells_moved(values, draws[1], summed_out, generator):
            now = _gradients(target, args, kwargs, {**values, **other})
            if moves(before[name], now[name]).sum() > 1:
                return True
    return any((one[n] & other[n]).any() for one, other in combinations(touched, 2) for n in after)


def _with_cells_moved(
    values: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
    names: Sequence[str],
    generator: torch.Generator,
) -> Iterator[dict[str, Tensor]]:
    """Yield values of a latent, each with one cell from the other draw, for some cells that differ."""
    cells = [(n, i) for n in names for i in (values[n] != others[n]).flatten().nonzero().tolist()]
    for number in torch.randperm(len(cells), generator=generator)[:CELLS].tolist():
        name, [cell] = cells[number]
        moved = values[name].flatten().clone()
        moved[cell] = others[name].flatten()[cell]
        yield {name: moved.reshape(values[name].shape)}


def _gradients(
    target: Program, args: Sequence[Any], kwargs: Mapping[str, Any], values: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the sum over each cell's values of d log p / d value, by latent; 0 for what is discrete."""
    points = {
        name: value.detach().clone().requires_grad_(value.is_floating_point())
        for name, value in values.items()
    }
    with torch.enable_grad():
        trace = run("model", poutine.condition(target.model, points), args, kwargs)
        log_density = torch.as_tensor(trace.log_prob_sum())
        moving = {name: point for name, point in points.items() if point.requires_grad}
        gradients: Sequence[Tensor | None] = [None] * len(moving)
        if moving and log_density.requires_grad:
            gradients = torch.autograd.grad(log_density, [*moving.values()], allow_unused=True)
    found = dict(zip(moving, gradients, strict=True))
    return {name: _by_cell(found.get(name), trace.nodes[name]) for name in points}


def _by_cell(gradient: Tensor | None, site: Mapping[str, Any]) -> Tensor:
    value, event_dim = site["value"], site["fn"].event_dim
    gradient = torch.zeros_like(value) if gradient is None else gradient
    # a weighted sum, since gradients of a simplex may sum to 0
    weights = torch.linspace(1.0, 2.0, value.shape[value.dim() - event_dim :].numel())
    weights = weights.to(gradient)
    return gradient.reshape(*value.shape[: value.dim() - event_dim], -1) @ weights
