"""Data and latents drawn together from a model, with the data handed back through its arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.probe import model_at, moves
from pyro_vae.program.redrawing import redrawing
from pyro_vae.program.trace import Site, drawn_sites, observed_sites, run, sample_sites


def simulate(bound_program: BoundProgram) -> tuple[BoundProgram, poutine.Trace]:
    """Return a call whose data are a draw of p(x, z), and the trace that holds this z.

    The arguments give the number of data, and the values that the model does not generate (lengths,
    labels, covariates); in copies of them the draws overwrite the observed values.

    Raises:
        InputError: an observed value is neither an argument nor part of one, so the guide cannot read a
            drawn one; or the model's distributions depend on the data they generate.
    """
    args = tuple(a.contiguous() if isinstance(a, Tensor) else a for a in bound_program.args)
    observed_run = run("model", bound_program.program.model, args, bound_program.kwargs)
    drawn = run("model", redrawing(bound_program.program.model), args, bound_program.kwargs)
    copies = [a.clone() if isinstance(a, Tensor) else a for a in args]
    for name, site in observed_sites(observed_run).items():
        _write_to_copy(name, site["value"], sample_sites(drawn)[name]["value"], args, copies)
    simulated = replace(bound_program, args=tuple(copies), by_rows=False)
    _check_scores(simulated, drawn, observed_sites(observed_run))
    return simulated, drawn


def _write_to_copy(
    name: str, old: Tensor, new: Tensor, args: Sequence[Any], copies: Sequence[Any]
) -> None:
    """Write ``new`` to the place in the copies that ``old``, a view of one of ``args``, has there."""
    for arg, copy in zip(args, copies, strict=True):
        if isinstance(arg, Tensor) and _is_view(old, arg) and new.shape == old.shape:
            offset = old.storage_offset() - arg.storage_offset()
            copy.as_strided(old.shape, old.stride(), offset).copy_(new)
            return
    raise InputError(
        f"the data at site {name!r} cannot be simulated: its `obs` (shape {tuple(old.shape)}, drawn "
        f"{tuple(new.shape)}) is computed from the arguments, so the guide cannot read a drawn one",
        subject=name,
        expected="an argument of the model, or a slice of one",
        remedy="pass the observed value itself",
    )


def _is_view(value: Tensor, arg: Tensor) -> bool:
    return (
        value.untyped_storage().data_ptr() == arg.untyped_storage().data_ptr()
        and value.dtype == arg.dtype
    )


def _check_scores(
    bound_program: BoundProgram, drawn: poutine.Trace, observed: Mapping[str, Site]
) -> None:
    """Check that the simulated data, as given data, have the same values and densities."""
    replayed = model_at(bound_program.single(), drawn)
    for name in [*drawn_sites(drawn), *observed]:
        sites = [sample_sites(trace)[name] for trace in (drawn, replayed)]
        before, after = (site["fn"].log_prob(site["value"]) for site in sites)
        same = before.shape == after.shape and torch.equal(sites[0]["value"], sites[1]["value"])
        if not same or bool(moves(before, after).any()):
            raise InputError(
                f"the model's distribution at site {name!r} depends on the observed data (or is random "
                "itself), so data cannot be drawn from it in one pass",
                subject=name,
                remedy="take method='sandwich', which bounds the evidence of the given data",
            )
