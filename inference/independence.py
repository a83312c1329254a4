"""Whether a program's units are independent of one another, and of where in a batch they stand."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.call import Call
from pyro_vae.layout import Layout
from pyro_vae.particles import is_point_mass, score, with_values
from pyro_vae.traces import Site, latent_sites, run, sample_sites

PARTITIONS = 5  # of the units in two; up to 2**5 units every pair is in different halves once


@dataclass(frozen=True)
class Run:
    """One run of guide and model, as they are; nothing is enumerated, what is to be so is drawn."""

    call: Call
    guide: poutine.Trace
    model: poutine.Trace

    def scores(self) -> dict[str, Tensor]:
        """Log-densities of each unit, ``units |``, by part of the program."""
        return {
            "model": _of_units(self.model, self.call),
            "guide": _of_units(self.guide, self.call),
        }


def drawn(call: Call) -> Run:
    """A run with latents of its own."""
    guide = run("guide", call.program.guide, call.args, call.kwargs)
    model = run("model", poutine.replay(call.program.model, guide), call.args, call.kwargs)
    return Run(call, guide, model)


def again(call: Call, first: Run, value: Callable[[Site], Tensor], seed: int = 0) -> Run:
    """A run with latents made of those of another.

    What the guide puts at a point follows from its other sites, as it did. Noise that is no sample
    statement is the same for the same seed.
    """
    free = with_values(first.guide, value)
    for name in [n for n, site in latent_sites(free).items() if is_point_mass(site["fn"])]:
        free.remove_node(name)
    pyro.set_rng_seed(seed)
    guide = run("guide", poutine.replay(call.program.guide, free), call.args, call.kwargs)
    given = guide.copy()
    for name, site in latent_sites(first.model).items():
        if name not in given.nodes:  # the model's alone
            given.nodes[name] = cast(Any, {**site, "value": value(site)})
    model = run("model", poutine.replay(call.program.model, given), call.args, call.kwargs)
    return Run(call, guide, model)


def coupled(call: Call) -> bool:
    """Whether, in model or guide, a unit's density changes with the latents of others.

    Half of the units get other latents, and the other half is looked at; and the other way round, for
    several ways to cut the units in two.
    """
    layout = call.layout
    if layout.unit is None or layout.num_units < 2:
        return False
    pyro.set_rng_seed(0)  # what is found must not hang on a seed, nor on the process
    first = drawn(call)
    before = again(call, first, lambda site: site["value"]).scores()
    numbers = torch.randperm(layout.num_units)
    for bit in range(min(PARTITIONS, (layout.num_units - 1).bit_length())):
        other = drawn(call)
        half = (numbers >> bit) % 2 == 1
        for changed in (half.to(call.device), ~half.to(call.device)):
            after = again(call, first, lambda site: _mixed(site, other, changed, layout)).scores()  # noqa: B023
            for part in before:
                if not _same(before[part][~changed], after[part][~changed]):
                    return True
            pyro.set_rng_seed(bit + 1)  # for the next draw
    return False


def check_data_are_apart(call: Call) -> None:
    """Refuses a model in which a datum's density depends on the other data of its batch.

    Of a batch, the second half is replaced by the first, and that one scored at the same latents.
    """
    half = call.layout.num_units // 2
    order = torch.cat([torch.arange(half), torch.arange(call.layout.num_units - half)])
    pyro.set_rng_seed(0)
    guide = drawn(call).guide
    scores = []
    for args in (call.args, _rows(call, order)):
        pyro.set_rng_seed(0)
        model = run("model", poutine.replay(call.program.model, guide), args, call.kwargs)
        given = [
            site for name, site in sample_sites(model).items() if name not in call.layout.enumerated
        ]
        scores.append(score(given, call.layout, 1)[0, :half])
    before, after = scores
    if not _same(before, after):
        raise InputError(
            "the model's density of a datum depends on the other data of its batch (by up to "
            f"{float((before - after).abs().max()):.3g} nats, when these change), so there is no log p(x) "
            f"of a unit of plate {call.layout.unit!r}: leave statistics of the batch out of the model"
        )


def place_matters(call: Call) -> bool:
    """Whether the same rows, with the same latents, score otherwise in another order."""
    pyro.set_rng_seed(0)
    first = drawn(call)
    order = torch.randperm(call.layout.num_units).to(call.device)
    other = replace(call, args=_rows(call, order))
    before = again(call, first, lambda site: site["value"]).scores()
    after = again(other, first, lambda site: _taken(site, order, call.layout)).scores()
    if all(_same(before[part][order], after[part], 10) for part in before):
        return False
    noisy = again(call, first, lambda site: site["value"], seed=1).scores()
    return all(_same(before[part], noisy[part]) for part in before)  # else noise is all that moved


def check_every_value_is_drawn(layout: Layout, guide: poutine.Trace, model: poutine.Trace) -> None:
    """Refuses a guide that draws one value of a latent where the model has several."""
    proposed = latent_sites(guide)
    for name, site in latent_sites(model).items():
        wanted = site["fn"].shape().numel()
        if name in proposed and site["value"].numel() < wanted:
            plates = ", ".join(repr(f.name) for f in site["cond_indep_stack"] if f.vectorized)
            raise InputError(
                f"the guide draws {site['value'].numel()} of the {wanted} numbers of the model's site "
                f"{name!r}, which would have to share them: in the guide, too, it must lie in the plate "
                f"{plates} and be of shape {tuple(site['fn'].shape())}"
            )


def _of_units(trace: poutine.Trace, call: Call) -> Tensor:
    return score(sample_sites(trace).values(), call.layout, 1)[0]


def _rows(call: Call, order: Tensor) -> tuple[Tensor, ...]:
    return tuple(rows[order.to(rows.device)] for rows in call.args)


def _mixed(site: Site, other: Run, changed: Tensor, layout: Layout) -> Tensor:
    """A site's value, for some units taken from another run."""
    value: Tensor = site["value"]
    dim = _dim(site, layout)
    traces = [trace for trace in (other.guide, other.model) if site["name"] in trace.nodes]
    there = traces[0].nodes[site["name"]]["value"] if traces else value
    if dim < 0 or there.shape != value.shape:
        return value
    return torch.where(changed.reshape(-1, *(1,) * (value.dim() - dim - 1)), there, value)


def _taken(site: Site, order: Tensor, layout: Layout) -> Tensor:
    """A site's value with its units in another order."""
    value: Tensor = site["value"]
    dim = _dim(site, layout)
    return value.index_select(dim, order) if dim >= 0 and value.shape[dim] > 1 else value


def _dim(site: Site, layout: Layout) -> int:
    """The dimension of a site's value that counts units."""
    return int(site["value"].dim() - site["fn"].event_dim + layout.dim)


def _same(one: Tensor, other: Tensor, leeway: float = 1.0) -> bool:
    return torch.allclose(one, other, rtol=leeway * 1e-5, atol=leeway * 1e-4, equal_nan=True)
