"""What one run of a program shows: its sites, plates and densities, and whether they fit one another."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from pyro.infer.util import enable_validation
from torch import Tensor

from pyro_vae.errors import InputError, nearest
from pyro_vae.program.adapters import tensors_for_numbers, unmasked, with_gradients
from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.one_datum import OneDatum, check_batch_dimension
from pyro_vae.program.probe import all_latents, moved_sites, other_value, site_scores
from pyro_vae.program.site_checks import check_data, check_log_prob
from pyro_vae.program.structure import Structure, read_structure
from pyro_vae.program.trace import (
    NeedsGradients,
    Site,
    batch_of,
    declared_events,
    drawn_sites,
    innermost,
    is_factor,
    is_point_mass,
    latent_sites,
    observed_sites,
    run,
    run_as_it_is,
    run_at,
    sample_sites,
    shape_of,
)
from pyro_vae.program.wrappers import has_own_mask, mask_of, unmask_sites


@dataclass(frozen=True)
class Examination:
    """What one run of guide and model showed; whatever else wants to know the program starts from here.

    Attributes:
        program: the program, with what it needs around it to be scored (:mod:`pyro_vae.program.adapters`).
        layout: its sites and plates.
        guide: the guide's trace.
        model: the model's trace at the guide's draws.
        notes: what counts otherwise than one may think, in sentences.
        free: latents of which a mask takes something out that nothing else depends on.
    """

    program: Program
    structure: Structure
    guide: poutine.Trace
    model: poutine.Trace
    notes: tuple[str, ...] = ()
    free: frozenset[str] = frozenset()

    @property
    def has_masks(self) -> bool:
        """Whether latents have masks, which on other rows may take out what they do not here."""
        sites = [*latent_sites(self.model).values(), *drawn_sites(self.guide).values()]
        return any(s["mask"] is not None or has_own_mask(s["fn"]) for s in sites)


def examine(
    program: Program,
    /,
    *args: Any,
    unit: str | None = None,
    strict: bool = True,
    known: Examination | None = None,
    num_rows: int | None = None,
    **kwargs: Any,
) -> Examination:
    """Runs guide and model once, with every check that Pyro and torch know, and reads the plates.

    A model that masks latents runs once more, to see whether anything else that counts depends on what the
    masks take out; and once for each of them, where something does. So does one for each flat prior.

    :param unit: the unit plate's name; by default the outermost plate that all latent and observed
        sites share.
    :param strict: refuse log-probabilities that are NaN, too; else only data outside the support.
    :param num_rows: how many rows the arguments are, where they are rows.
    :param known: what was seen on other rows, so that masked latents need not be looked at again.
    :raises InputError: the model or guide raises (with the site), a site is missing on one side,
        ``unit`` is not there or does not hold every site, the data are one datum without its batch
        dimension.
    """
    with refusing_one_datum(program, () if kwargs else args, unit):
        return _examine(program, args, kwargs, unit, strict, known, num_rows)


@contextmanager
def refusing_one_datum(program: Program, args: Any, unit: str | None = None) -> Iterator[None]:
    """Says of data that the program refuses whether they are one datum that it would take.

    :raises OneDatum: in place of any other refusal, where it takes them with a batch dimension more.
    """
    try:
        yield
    except OneDatum:
        raise
    except InputError as error:
        tensors = [a for a in args if isinstance(a, Tensor)]
        if not tensors or len(tensors) < len(args):
            raise
        structure: Structure | None = None
        with suppress(Exception), undisturbed(program, 0):
            structure = _examine(
                program, [a[None] for a in tensors], {}, unit, True, None, 1
            ).structure
        if structure is None or structure.unit is None or structure.num_units != 1:
            raise
        why = "the program takes them with one, and not as they are"
        raise OneDatum(tensors[0], why) from error


def _examine(
    program: Program,
    args: Any,
    kwargs: Any,
    unit: str | None,
    strict: bool,
    known: Examination | None,
    num_rows: int | None,
) -> Examination:
    with pyro.validation_enabled(strict), torch.no_grad():
        enable_validation(True)  # what a program itself asks of its data counts for all of them
        try:
            guide_trace, model_trace, sums_out = _run_both(program, args, kwargs)
        except NeedsGradients:
            program = with_gradients(program)
            guide_trace, model_trace, sums_out = _run_both(program, args, kwargs)
        if any(site.get("was_number") for site in observed_sites(model_trace).values()):
            program = tensors_for_numbers(program)
        check_match(model_trace, guide_trace)
        check_batch_dimension(model_trace, (*args, *kwargs.values()))
        structure = read_structure(model_trace, guide_trace, unit, num_rows)
        structure = replace(structure, holds_enumerated_only=sums_out)
        if strict:
            check_log_prob("guide", guide_trace)
            check_log_prob("model", model_trace)
        else:
            check_data(model_trace)
        for part, trace in (("model", model_trace), ("guide", guide_trace)):
            _check_shapes(part, trace, structure)
        with pyro.validation_enabled(False):
            seen = Examination(program, structure, guide_trace, model_trace)
            return settle_densities(seen, known, args, kwargs)


MASK_DRAWS = 3  # of a guide whose latents are masked, as a mask may depend on them
MOST_PLATES = 8  # dimensions of plates, where a model is tried with all values of its latents


def _run_both(
    program: Program, args: Any, kwargs: Any
) -> tuple[poutine.Trace, poutine.Trace, bool]:
    """The traces of guide and model, and whether the model runs only where it is summed out."""
    guide_trace = run_as_it_is("guide", program.guide, args, kwargs)
    try:
        return guide_trace, run_at(guide_trace, program.model, args, kwargs, run_as_it_is), False
    except NeedsGradients:
        raise
    except InputError as error:
        reached = getattr(error, "reached", poutine.Trace())
        summed = any(s["infer"].get("enumerate") for s in drawn_sites(reached).values())
        for most in range(MOST_PLATES if summed else 0):
            model = poutine.enum(program.model, first_available_dim=-1 - most)
            with suppress(InputError):
                trace = run_as_it_is("model", poutine.replay(model, guide_trace), args, kwargs)
                sites = latent_sites(trace).values()
                depth = max(
                    (-f.dim for s in sites for f in s["cond_indep_stack"] if f.dim), default=0
                )
                if depth <= most and any(s["infer"].get("_enumerate_dim") for s in sites):
                    return guide_trace, trace, True
        marked = [n for n, s in drawn_sites(guide_trace).items() if s["infer"].get("enumerate")]
        if marked:
            raise InputError(
                f"{error} (the guide marks {marked[0]!r} to be enumerated, and it was drawn here: the "
                "model must take one value of it, too)"
            ) from error
        raise


def settle_densities(
    seen: Examination, known: Examination | None, args: Any, kwargs: Any
) -> Examination:
    """Finds out what the densities of masked and flat latents stand for, and makes them count as that.

    Where nothing else that counts depends on what a latent's mask takes out, that part integrates to one,
    so its prior may count, and does where the guide's density counts there. Where something depends on it,
    the model's density is what the model says, without that prior; the guide's draws count all the same.
    A flat latent (ImproperUniform) has a density where a factor or another latent's prior depends on it.
    """
    structure = seen.structure
    flat, notes = _settle_flat(seen, args, kwargs)
    masked = _masked(seen)
    apart = _depended_on(seen, masked, known, args, kwargs)
    for other in _other_draws(seen, args, kwargs) if seen.has_masks else ():
        there = _masked(other)
        if there.keys() != masked.keys() or any((there[n] != masked[n]).any() for n in there):
            masked |= there  # by a mask that depends on latents
            apart |= _depended_on(other, there, known, args, kwargs)
    proposed, unmasked_in_model = drawn_sites(seen.guide), set()
    for name in masked.keys() - apart:
        if name in proposed and bool(mask_of(proposed[name]).all()):
            unmasked_in_model.add(name)
    unmasked_in_guide = apart & proposed.keys()
    if apart:
        names = [name for name in structure.latents if name in apart]
        more = f" and {len(names) - 3} more" if len(names) > 4 else ""
        shown = ", ".join(map(repr, names[:3] if more else names)) + more
        notes.append(
            f"the model masks the prior of {shown}, and other sites depend on what it masks: the figures "
            "are those of the density as it is written, without that prior"
        )
    return replace(
        seen,
        program=unmasked(seen.program, frozenset(unmasked_in_model), frozenset(unmasked_in_guide)),
        structure=replace(structure, flat=flat, without_prior=tuple(sorted(apart))),
        guide=unmask_sites(seen.guide, unmasked_in_guide),
        model=unmask_sites(seen.model, unmasked_in_model),
        notes=tuple(notes),
        free=frozenset(masked.keys() - apart),
    )


def _masked(seen: Examination) -> dict[str, Tensor]:
    """What masks take out of the model's latents."""
    sites = latent_sites(seen.model)
    masks = {name: mask_of(sites[name]) for name in seen.structure.latents if name in sites}
    return {name: ~mask for name, mask in masks.items() if not bool(mask.all())}


def _other_draws(seen: Examination, args: Any, kwargs: Any) -> Iterator[Examination]:
    """What one sees at other draws of the guide."""
    for _ in range(MASK_DRAWS if not seen.structure.holds_enumerated_only else 0):
        guide = run("guide", seen.program.guide, args, kwargs)
        model = run_at(guide, seen.program.model, args, kwargs)
        yield replace(seen, guide=guide, model=model)


def _settle_flat(seen: Examination, args: Any, kwargs: Any) -> tuple[tuple[str, ...], list[str]]:
    """The latents whose prior is flat, and has no density elsewhere; and where the others have theirs."""
    flat, notes, sites = [], [], sample_sites(seen.model)
    for name in seen.structure.flat:
        everywhere = {name: torch.ones((), dtype=torch.bool)}
        moved = _moved_by(seen, everywhere, args, kwargs)
        carriers = [other for other in moved if other != name and is_density(sites[other])]
        if carriers:
            notes.append(
                f"{name!r} is flat (ImproperUniform): its density is that of {carriers[0]!r}"
            )
        else:
            flat.append(name)
    return tuple(flat), notes


def _depended_on(
    seen: Examination,
    masked: Mapping[str, Tensor],
    known: Examination | None,
    args: Any,
    kwargs: Any,
) -> set[str]:
    """The masked latents on which something else that counts depends, where they are masked."""
    before = set(known.structure.without_prior) if known else set()
    new = {n: m for n, m in masked.items() if n not in before and not (known and n in known.free)}
    if not new or not _moved_by(seen, new, args, kwargs):
        return before & masked.keys()
    if len(new) > 1:
        new = {n: mask for n, mask in new.items() if _moved_by(seen, {n: mask}, args, kwargs)}
    return (before & masked.keys()) | new.keys()


def is_density(site: Site) -> bool:
    """Whether a model's site says how latents are distributed, rather than data."""
    return not site["is_observed"] or is_factor(site) or is_point_mass(site["fn"])


def _moved_by(seen: Examination, where: Mapping[str, Tensor], args: Any, kwargs: Any) -> list[str]:
    """The model's sites that score otherwise when latents have other values where it is said."""
    latents = all_latents(seen.guide, seen.model)
    for name, there in where.items():
        site = sample_sites(seen.model)[name]
        value = torch.where(there, other_value(site), site["value"])
        latents.nodes[name] = cast(Any, {**site, "value": value})
    model = poutine.replay(seen.program.model, latents)
    if seen.structure.holds_enumerated_only:
        model = poutine.enum(model, first_available_dim=-1 - seen.structure.max_plate_nesting)
    before = site_scores(seen.model, seen.structure)
    after = site_scores(run("model", model, args, kwargs), seen.structure)
    return moved_sites(before, after)


def check_match(model_trace: poutine.Trace, guide_trace: poutine.Trace) -> None:
    """Refuses a guide that does not draw just what the model draws, by :mod:`pyro_vae.program.trace`."""
    latents, proposed = latent_sites(model_trace), drawn_sites(guide_trace)
    for name, site in proposed.items():
        there = model_trace.nodes.get(name)
        if name in latents:
            if latents[name]["value"] is not site["value"]:
                raise InputError(f"the model's site {name!r} does not take the guide's value")
        elif there is not None:
            _check_computed(name, site, cast(Site, there))
        elif not site["infer"].get("is_auxiliary"):
            raise InputError(
                f"the guide samples {name!r}, which the model has not{nearest(name, latents)}"
            )
    for name, site in latents.items():
        if name in proposed or site["infer"].get("enumerate") == "parallel":
            continue
        if site["infer"].get("enumerate"):
            raise InputError(
                f"the model's site {name!r} is marked enumerate={site['infer']['enumerate']!r}; latents "
                'are summed out in parallel only: mark it `infer={"enumerate": "parallel"}`'
            )
        raise InputError(
            f"the model samples {name!r}, which the guide has not: add "
            f"`pyro.sample({name!r}, ...)` to the guide, or, if it is discrete, have it summed "
            'out by `infer={"enumerate": "parallel"}` in the model'
        )
    for name, site in observed_sites(guide_trace).items():
        if is_factor(site) and "has_rsample" not in vars(innermost(site["fn"])):
            raise InputError(
                f"the guide's factor {name!r} does not say what it is: has_rsample=True makes it part of "
                "the guide's density (a Jacobian), has_rsample=False a term of the training loss alone"
            )


def _check_computed(name: str, proposed: Site, there: Site) -> None:
    """A name that is no latent of the model's: the guide may compute it too, and never draw it."""
    if there["type"] == "sample" and not there["is_observed"]:  # a Delta
        if is_point_mass(proposed["fn"]) and torch.equal(proposed["value"], there["value"]):
            return
        what = "computes (Delta)"
    elif there["type"] == "param":
        what = "has as a parameter"
    elif there["type"] == "sample" and there["infer"].get("_deterministic"):
        if is_point_mass(proposed["fn"]):
            return  # an AutoGuide's record of it
        what = "computes (pyro.deterministic)"
    else:
        what = "observes (`obs=`, or `pyro.condition`)"
    raise InputError(
        f"the guide draws {name!r}, which the model {what}, so the draw would count in the guide's density "
        "and nowhere in the model's: leave it out of the guide"
    )


def _check_shapes(part: str, trace: poutine.Trace, structure: Structure) -> None:
    for name, site in sample_sites(trace).items():
        shape = batch_of(site)
        if (
            structure.holds_enumerated_only
        ):  # what lies left of the plates are values to be summed over
            shape = shape[max(0, len(shape) - structure.max_plate_nesting) :]
        declared = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
        allowed = {frame.dim for frame in declared}
        wide = [d for d in range(-len(shape), 0) if shape[d] > 1 and d not in allowed]
        if wide:
            raise InputError(
                f"the {part}'s site {name!r} has log-probabilities of shape {tuple(shape)}, which "
                f"its plates do not explain at dimension {wide[0]}: add `.to_event(...)`, or a plate, or "
                f"mend the shapes of distribution {tuple(shape_of(site['fn']))} and value "
                f"{tuple(site['value'].shape)}"
            )
        if not _fits_as_declared(site["fn"], site["value"]):
            raise InputError(
                f"the {part}'s site {name!r} has a distribution of shape {tuple(shape_of(site['fn']))} "
                f"(batch | event), but a value of shape {tuple(site['value'].shape)}: they fit by "
                "broadcasting only, which counts the same numbers more than once"
            )


def _fits_as_declared(fn: Any, value: Tensor) -> bool:
    """Whether a value is as long as its distribution in the dimensions that ``to_event`` made events.

    The others are the distribution's own affair: a hidden Markov model of one step stands for any number.
    """
    declared, own = declared_events(fn), value.shape[value.dim() - fn.event_dim :]
    return value.dim() >= fn.event_dim and own[:declared] == fn.event_shape[:declared]
