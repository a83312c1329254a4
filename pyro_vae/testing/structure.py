"""Checks of a program's sites, plates and units, and of its diagram."""

from dataclasses import replace
from functools import partial

import pyro
import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.graph import render_model
from pyro_vae.inference.evidence.cutting import joint_note
from pyro_vae.program.examination import examine
from pyro_vae.program.particles import of_particles
from pyro_vae.program.probe import Traces, difference, draw_traces
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    observed_sites,
    sample_sites,
)
from pyro_vae.testing.case import Case, NotApplicable


def runs(case: Case) -> str:
    """Guide and model run, the model at the guide's draws, with the validation of Pyro and torch."""
    with pyro.validation_enabled(True):
        case.traces()
    return ""


def sites(case: Case) -> str:
    """Model and guide have the same latents with the same shapes, as the plates declare, and scores."""
    examine(case.program, *case.args)
    traces = case.traces()
    return f"{len(drawn_sites(traces.guide))} latent, {len(observed_sites(traces.model))} observed"


def plates(case: Case) -> str:
    """One plate holds all sites and has a unit for each row; or all rows share some latent."""
    if case.structure.unit is None:
        _check_no_latent_grows(case, case.traces())
        return "".join(joint_note(case.structure))
    return f"the unit is {case.structure.unit!r}"


def _check_no_latent_grows(case: Case, traces: Traces) -> None:
    """Check that no latent outside every plate grows with the data: it would be one for each row."""
    fewer = tuple(rows[:-1] for rows in case.args)
    try:
        shorter = sample_sites(case.traces(args=fewer).guide)
    except InputError:
        return
    for name, site in drawn_sites(traces.guide).items():
        is_free = not site["cond_indep_stack"] and not site["infer"].get("is_auxiliary")
        if is_free and name in shorter and shorter[name]["value"].shape != site["value"].shape:
            raise InputError(
                f"site {name!r} of shape {tuple(site['fn'].shape())} grows with the data and lies outside "
                "every plate, so the evidence does not factorise",
                subject=name,
                remedy="put it into the plate of the data",
            )


def factorises(case: Case) -> str:
    """A row scores the same alone and among others."""
    structure, count = case.structure, case.structure.num_units
    if structure.unit is None:
        raise NotApplicable("the evidence is a joint one, of all data")
    if count < 2 or count != len(case.args[0]):
        raise NotApplicable(
            f"plate {structure.unit!r} has {count} units in {len(case.args[0])} rows"
        )
    traces = case.traces()
    together = traces.scores(structure)
    for row in (0, count - 1):
        alone = _alone(case, traces, row).scores(structure.resized(1))
        gap = difference({n: s[:, row : row + 1] for n, s in together.items()}, alone)
        if gap:
            raise InputError(
                f"row {row} scores differently alone and among {count}, by {gap}: something depends on "
                "the whole batch, such as a mean or BatchNorm in train mode",
                subject=gap.site,
                remedy="compute each row from that row alone",
            )
    return _batch_norms(case)


def _of_unit(site: Site, structure: Structure, row: int) -> Tensor:
    value: Tensor = site["value"]
    dim = value.dim() - site["fn"].event_dim + structure.dim
    return value if dim < 0 or value.shape[dim] == 1 else value.narrow(dim, row, 1)


def _alone(case: Case, among: Traces, row: int) -> Traces:
    """Return the traces of one row.

    Raises:
        NotApplicable: the program takes a fixed number of rows, neither 1 nor one fewer.
    """
    fixed_size = NotApplicable(f"it takes exactly {len(case.args[0])} rows")
    try:
        of_unit = partial(_of_unit, structure=case.structure, row=row)
        traces = case.again(among, of_unit, tuple(arg[row : row + 1] for arg in case.args))
    except InputError as error:
        try:
            case.traces(args=tuple(arg[:-1] for arg in case.args))
        except InputError:
            raise fixed_size from error
        raise InputError(
            f"the program does not run on a single row: {error.problem}",
            subject=error.subject,
            remedy="keep the batch dimension when it is 1 (no .squeeze())",
        ) from error
    for trace in (traces.guide, traces.model):
        for site in sample_sites(trace).values():
            if site["fn"].batch_shape[case.structure.dim] > 1:  # of an AutoGuide, or a fixed mask
                raise fixed_size
    return traces


def _batch_norms(case: Case) -> str:
    norms = [
        name
        for root in case.program.modules.values()
        for name, module in root.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    if not norms:
        return ""
    return f"in training {', '.join(map(repr, norms))} (BatchNorm) depend on the whole batch"


def particles(case: Case) -> str:
    """Particles score the same vectorized and one by one."""
    structure = case.structure
    if case.bound_program.vectorized:
        return ""
    with torch.no_grad(), pyro.validation_enabled(False):
        try:
            # the model's own discrete latents are drawn, not summed out, so that sites compare
            traces = draw_traces(replace(case.bound_program, vectorized=True), 2)
        except (InputError, ValueError, RuntimeError) as error:
            raise NotApplicable(f"it takes one particle a call: {error}") from error
        together = traces.scores(structure)
        for k in range(2):
            pick = partial(of_particles, structure=structure, some=k)
            alone = case.again(traces, pick).scores(structure)
            own = {name: s[k : k + 1] if len(s) > 1 else s for name, s in together.items()}
            if gap := difference(own, alone):
                raise _not_vectorized(f"{gap}", gap.site)
    raise _not_vectorized("some nats", "the program")


def _not_vectorized(gap: str, site: str) -> InputError:
    return InputError(
        f"two particles score differently vectorized and one by one, by {gap}: some dimension is counted "
        "from the left, as in mean(0) or a reshape",
        subject=site,
        remedy="count dimensions from the right",
    )


def graph(case: Case) -> str:
    """The diagram renders, and holds every site."""
    drawn = render_model(case.program, case.args)
    shown = {site for node in drawn.model.nodes for site in node.sites}
    missing = sorted({*case.structure.latents, *case.structure.observed} - shown)
    if missing:
        names = ", ".join(map(repr, missing))
        raise InputError(f"the diagram lacks {names}", subject=missing[0])
    if not drawn.svg.startswith("<"):
        raise InputError("the diagram is not valid SVG", subject="SVG")
    return "; ".join(drawn.warnings)
