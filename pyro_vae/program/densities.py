"""Masked and flat latents: which of their densities count, in model and guide."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from pyro_vae.program.adapters import unmasked
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.masks import has_mask, mask_of, unmask_sites
from pyro_vae.program.probe import Traces, model_at, moved_sites, other_value, site_scores
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    is_factor,
    is_point_mass,
    latent_sites,
    run,
    run_at,
    sample_sites,
)
from pyro_vae.program.wrappers import parts

MASK_DRAWS = 3  # of a guide whose latents are masked, as a mask may depend on them


@dataclass(frozen=True)
class MaskedLatents:
    """Name masked latents that need not be tried again.

    Attributes:
        depended_on: something else that counts depends on what the masks take out of them.
        free: nothing does.
    """

    depended_on: frozenset[str] = frozenset()
    free: frozenset[str] = frozenset()


def settle_densities(
    bound_program: BoundProgram, traces: Traces, known: MaskedLatents
) -> tuple[BoundProgram, Traces, frozenset[str], tuple[str, ...]]:
    """Find out which densities of masked and flat latents count, and let just these count.

    If nothing else that counts depends on the part that a mask takes out of a latent, that part integrates
    to one: the prior may count there, and does if the guide's density counts there. If something depends on
    it, the model's density stays as it is written, without that prior; the guide's draws count all the
    same. A flat latent (ImproperUniform) has a density where a factor or another latent's prior depends on
    it.

    Args:
        bound_program: the program as it was run.
        traces: that run.
        known: the masked latents on other rows, which need not be tried again.

    Returns:
        The call and the traces in which these densities count; the masked latents on whose masked part
        nothing else depends; and notes.
    """
    flat, notes = _settle_flat(bound_program, traces)
    masked = _taken_out(bound_program, traces)
    apart = _depended_on(bound_program, traces, masked, known)
    for other in _other_draws(bound_program) if has_masks(traces) else ():
        elsewhere = _taken_out(bound_program, other)
        same_names = elsewhere.keys() == masked.keys()
        if not same_names or any((elsewhere[n] != masked[n]).any() for n in elsewhere):
            masked |= elsewhere  # by a mask that depends on latents
            apart |= _depended_on(bound_program, other, elsewhere, known)
    proposed = drawn_sites(traces.guide)
    free = masked.keys() - apart
    in_model = {n for n in free if n in proposed and bool(mask_of(proposed[n]).all())}
    in_guide = apart & proposed.keys()
    if apart:
        notes.append(_note([name for name in bound_program.structure.latents if name in apart]))
    settled = replace(
        bound_program,
        program=unmasked(bound_program.program, frozenset(in_model), frozenset(in_guide)),
        structure=replace(bound_program.structure, flat=flat, without_prior=tuple(sorted(apart))),
    )
    counted = Traces(unmask_sites(traces.guide, in_guide), unmask_sites(traces.model, in_model))
    return settled, counted, frozenset(free), tuple(notes)


def has_masks(traces: Traces) -> bool:
    """Return whether latents have masks, which may take something out on other rows alone."""
    sites = [*latent_sites(traces.model).values(), *drawn_sites(traces.guide).values()]
    return any(map(has_mask, sites))


def _note(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 4 else ""
    shown = ", ".join(map(repr, names[:3] if more else names)) + more
    return (
        f"the model masks the prior of {shown}, and other sites depend on what it masks: the figures are "
        "those of the density as it is written, without that prior"
    )


def _taken_out(bound_program: BoundProgram, traces: Traces) -> dict[str, Tensor]:
    """Return where masks take something out of the model's latents."""
    sites = latent_sites(traces.model)
    masks = {
        name: mask_of(sites[name]) for name in bound_program.structure.latents if name in sites
    }
    return {name: ~mask for name, mask in masks.items() if not bool(mask.all())}


def _other_draws(bound_program: BoundProgram) -> Iterator[Traces]:
    for _ in range(0 if bound_program.structure.holds_enumerated_only else MASK_DRAWS):
        guide = run("guide", bound_program.program.guide, bound_program.args, bound_program.kwargs)
        yield Traces(
            guide,
            run_at(guide, bound_program.program.model, bound_program.args, bound_program.kwargs),
        )


def _settle_flat(bound_program: BoundProgram, traces: Traces) -> tuple[tuple[str, ...], list[str]]:
    """Return the flat latents without a density, and notes on the sites that give others theirs."""
    flat, notes, sites = [], [], sample_sites(traces.model)
    for name in bound_program.structure.flat:
        everywhere = {name: torch.ones((), dtype=torch.bool)}
        moved = _moved_by(bound_program, traces, everywhere)
        carriers = [other for other in moved if other != name and is_density(sites[other])]
        if carriers:
            notes.append(
                f"{name!r} is flat (ImproperUniform): its density is that of {carriers[0]!r}"
            )
        else:
            flat.append(name)
    return tuple(flat), notes


def _depended_on(
    bound_program: BoundProgram, traces: Traces, masked: Mapping[str, Tensor], known: MaskedLatents
) -> set[str]:
    """Return the masked latents on whose masked part something else that counts depends."""
    before = set(known.depended_on)
    new = {n: mask for n, mask in masked.items() if n not in before and n not in known.free}
    if not new or not _moved_by(bound_program, traces, new):
        return before & masked.keys()
    if len(new) > 1:
        new = {n: mask for n, mask in new.items() if _moved_by(bound_program, traces, {n: mask})}
    return (before & masked.keys()) | new.keys()


def is_density(site: Site) -> bool:
    """Return whether a model's site is part of the latents' density, and not of the data's."""
    return not site["is_observed"] or is_factor(site) or is_point_mass(site["fn"])


def _moved_by(
    bound_program: BoundProgram, traces: Traces, where: Mapping[str, Tensor]
) -> list[str]:
    """Return the model's sites whose score moves when latents get other values at some places."""
    latents, sites = traces.latents(), sample_sites(traces.model)
    for name, there in where.items():
        value = torch.where(there, other_value(sites[name]), sites[name]["value"])
        latents.nodes[name] = cast(Any, {**sites[name], "value": value})
    model = model_at(bound_program, latents)
    before, after = (site_scores(m, bound_program.structure) for m in (traces.model, model))
    moved, others = moved_sites(before, after), sample_sites(model)
    impossible = [n for n in before.keys() & after.keys() if not _is_finite(before[n], after[n])]
    return moved + [
        name
        for name in impossible
        if name not in (*moved, *where) and not _same(sites[name], others[name])
    ]


def _is_finite(*scores: Tensor) -> bool:
    return all(bool(score.isfinite().all()) for score in scores)


def _same(site: Site, other: Site) -> bool:
    """Return whether a site has the same value and distribution in two runs.

    It says so where values are impossible: their score is -inf, whatever it depends on.
    """
    own, its = _numbers(site), _numbers(other)
    return all(torch.equal(own[key], its[key]) for key in own.keys() & its.keys())


def _numbers(site: Site) -> dict[tuple[int, str], Tensor]:
    """Return a site's value, and the tensors that its distribution is made of."""
    held = {
        (number, name): attribute
        for number, part in enumerate(parts(site["fn"]))
        for name, attribute in vars(part).items()
        if isinstance(attribute, Tensor)
    }
    return {(-1, "value"): site["value"], **held}
