"""One run of a program: its sites, plates and densities, and whether they fit one another."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.util import enable_validation
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.adapters import tensors_for_numbers, with_gradients
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import Program
from pyro_vae.program.densities import MaskedLatents, has_masks, settle_densities
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.matching import check_match
from pyro_vae.program.one_datum import OneDatum, check_batch_dimension
from pyro_vae.program.probe import Traces
from pyro_vae.program.site_checks import check_data, check_log_prob, check_shapes
from pyro_vae.program.structure import Structure, read_structure
from pyro_vae.program.sum_out import enumerating
from pyro_vae.program.trace import (
    Failed,
    NeedsGradients,
    drawn_sites,
    latent_sites,
    observed_sites,
    run_at,
    run_without_gradients,
)

MOST_PLATES = 8  # dimensions of plates, where a model is tried with all values of its latents


@dataclass(frozen=True)
class Examination:
    """Hold one run of guide and model; all other questions about the program start from it.

    Attributes:
        program: the program, with all that it needs to be scored (:mod:`pyro_vae.program.adapters`).
        structure: its sites and plates.
        guide: the guide's trace.
        model: the model's trace at the guide's draws.
        notes: sentences on sites that count in an unexpected way.
        free: masked latents on whose masked part nothing else depends.
    """

    program: Program
    structure: Structure
    guide: poutine.Trace
    model: poutine.Trace
    notes: tuple[str, ...] = ()
    free: frozenset[str] = frozenset()

    @property
    def has_masks(self) -> bool:
        """Return whether latents have masks, which may take something out on other rows alone."""
        return has_masks(Traces(self.guide, self.model))


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
    """Run guide and model once, with every check of Pyro and torch, and read the plates.

    A model with masked latents runs once more, to see whether anything else that counts depends on what
    the masks take out; and once for each of them if something does. So does one with flat priors, for each.

    Args:
        program: the model and guide.
        args: the arguments of the call, and ``kwargs``.
        unit: the unit plate's name; by default the outermost plate that all latent and observed sites
            share.
        strict: whether to refuse log-probabilities that are NaN, too; if not, only data outside the
            support.
        known: the examination of other rows, whose masked latents are not tried again.
        num_rows: the number of rows, if the arguments are rows.

    Raises:
        InputError: the model or guide raises (with the site), a site is missing on one side, ``unit`` does
            not exist or does not hold every site, the data are one datum without its batch dimension.
    """
    with refusing_one_datum(program, () if kwargs else args, unit):
        return _examine(program, args, kwargs, unit, strict, known, num_rows)


@contextmanager
def refusing_one_datum(program: Program, args: Any, unit: str | None = None) -> Iterator[None]:
    """Find out, of refused data, whether they are one datum without its batch dimension.

    Raises:
        OneDatum: in place of any other refusal, if the program takes them with one dimension more.
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
            batch = [tensor[None] for tensor in tensors]
            structure = _examine(program, batch, {}, unit, True, None, 1).structure
        if structure is None or structure.unit is None or structure.num_units != 1:
            raise
        raise OneDatum(tensors[0], "the program takes them only with one") from error


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
        enable_validation(True)  # the program's own checks of its data hold for all rows
        try:
            traces, holds_enumerated_only = _run_both(program, args, kwargs)
        except NeedsGradients:
            program = with_gradients(program)
            traces, holds_enumerated_only = _run_both(program, args, kwargs)
        guide, model = traces.guide, traces.model
        if any(site.get("was_number") for site in observed_sites(model).values()):
            program = tensors_for_numbers(program)
        check_match(model, guide)
        check_batch_dimension(model, (*args, *kwargs.values()))
        structure = replace(
            read_structure(model, guide, unit, num_rows),
            holds_enumerated_only=holds_enumerated_only,
        )
        if strict:
            check_log_prob("guide", guide)
            check_log_prob("model", model)
        else:
            check_data(model)
        check_shapes("model", model, structure)
        check_shapes("guide", guide, structure)
        with pyro.validation_enabled(False):
            bound_program = BoundProgram(program, structure, False, tuple(args), kwargs)
            before = MaskedLatents()
            if known is not None:
                before = MaskedLatents(frozenset(known.structure.without_prior), known.free)
            bound_program, traces, free, notes = settle_densities(bound_program, traces, before)
    return Examination(
        bound_program.program, bound_program.structure, traces.guide, traces.model, notes, free
    )


def _run_both(program: Program, args: Any, kwargs: Any) -> tuple[Traces, bool]:
    """Return a run, and whether the model runs only if its latents take all their values."""
    guide = run_without_gradients("guide", program.guide, args, kwargs)
    try:
        return Traces(
            guide, run_at(guide, program.model, args, kwargs, run_without_gradients)
        ), False
    except NeedsGradients:
        raise
    except InputError as error:
        reached = drawn_sites(error.reached) if isinstance(error, Failed) else {}
        if any(site["infer"].get("enumerate") for site in reached.values()):
            model = _run_enumerated(program, guide, args, kwargs)
            if model is not None:
                return Traces(guide, model), True
        marked = [n for n, s in drawn_sites(guide).items() if s["infer"].get("enumerate")]
        if marked:
            raise InputError(
                f"{error.problem} (the guide marks {marked[0]!r} to be enumerated, and it was drawn here: "
                "the model must take one value of it, too)",
                subject=marked[0],
            ) from error
        raise


def _run_enumerated(
    program: Program, guide: poutine.Trace, args: Any, kwargs: Any
) -> poutine.Trace | None:
    """Return the model's trace with all values of its enumerated latents, if it runs in that way."""
    for most in range(MOST_PLATES):
        model = enumerating(program.model, most, beside_particles=False)
        with suppress(InputError):
            trace = run_without_gradients("model", poutine.replay(model, guide), args, kwargs)
            sites = latent_sites(trace).values()
            depth = max((-f.dim for s in sites for f in s["cond_indep_stack"] if f.dim), default=0)
            if depth <= most and any(s["infer"].get("_enumerate_dim") for s in sites):
                return trace
    return None
