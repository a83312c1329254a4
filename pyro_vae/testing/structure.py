"""What a program is: its sites, plates and units, and that it does nothing besides."""

from functools import partial

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.inference.checks.independence import Traces
from pyro_vae.inference.compiling.fx_capture import side_effect, tensors_of
from pyro_vae.inference.evidence.cutting import joint_note
from pyro_vae.program.examination import examine
from pyro_vae.program.particles import of_particles, particle_plate, with_values
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    is_point_mass,
    observed_sites,
    run,
    sample_sites,
)
from pyro_vae.testing.case import Case, NotApplicable, difference


def runs(case: Case) -> str:
    """Guide and model run, the model at the guide's draws, with Pyro's and torch's own checks."""
    with pyro.validation_enabled(True):
        case.traces()
    return ""


def sites(case: Case) -> str:
    """Model and guide have the same latents, of the same shapes, which their plates explain; every
    value can be scored."""
    examine(case.program, *case.args)
    traces = case.traces()
    return f"{len(drawn_sites(traces.guide))} latent, {len(observed_sites(traces.model))} observed"


def plates(case: Case) -> str:
    """A plate holds all sites, of as many units as there are rows; or some latent is shared by all."""
    if case.structure.unit is None:
        _refuse_rows_as_event(case, case.traces())
        return "".join(joint_note(case.structure))
    return f"the unit is {case.structure.unit!r}"


def _refuse_rows_as_event(case: Case, traces: Traces) -> None:
    """A latent outside of every plate that grows with the data is one for each datum."""
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
                "of every plate, so the evidence does not factorise: put it into the data's plate"
            )


def density(case: Case) -> str:
    """Model and guide give the same latents and data the same density every time."""
    first = case.traces()
    torch.rand(8)
    found = difference(
        first.scores(case.structure), case.traces(first.latents()).scores(case.structure)
    )
    if found:
        raise InputError(
            f"{found[0]} scores the same latents and data otherwise by {found[1]:.3g} nats the next "
            "time: noise is drawn outside of `pyro.sample`, or something is kept between calls"
        )
    return ""


def hidden_state(case: Case) -> str:
    """An evaluation changes neither arguments, tensors and attributes nor anything global."""
    program = case.program
    owners = {"model": program.model, "guide": program.guide, **program.modules}
    args = case.fresh(len(case.args[0]))
    tensors = [(f"argument {i}", arg) for i, arg in enumerate(args)] + [*case.learnt.items()]
    tensors += [(f"a tensor of shape {tuple(t.shape)}", t) for t in tensors_of(owners)]
    case.traces()  # what only the first call does, such as filling the store, is no matter
    before = [tensor.detach().clone() for _, tensor in tensors]
    world = _world()
    case.traces(args=args)
    for (name, tensor), value in zip(tensors, before, strict=True):
        same = (value == tensor.detach()) | (value.isnan() & tensor.detach().isnan())
        if not same.all():
            raise InputError(f"every run changes {name} in place: work on a copy")
    for what, state in _world().items():
        if state != world[what]:
            raise InputError(f"a run changes {what}")
    effect = side_effect(case.traces, owners)
    if effect is not None:
        raise InputError(f"{effect}: use `pyro.sample` or torch's generators, and keep nothing")
    return ""


def _world() -> dict[str, object]:
    """What a run might change in Pyro and torch at large, by name."""
    return {
        "Pyro's settings": pyro.settings.get(),
        "the names in Pyro's param store": sorted(pyro.get_param_store().keys()),
        "torch's default dtype": torch.get_default_dtype(),
        "whether torch records gradients": torch.is_grad_enabled(),
    }


def factorises(case: Case) -> str:
    """A datum alone scores as it does among the others."""
    structure, count = case.structure, case.structure.num_units
    if structure.unit is None:
        raise NotApplicable("the evidence is a joint one, of all data")
    if count < 2 or count != len(case.args[0]):
        raise NotApplicable(
            f"plate {structure.unit!r} has {count} units in {len(case.args[0])} rows"
        )
    vectorized = case.traces()
    whole = vectorized.scores(structure)
    # at a point a value scores nothing, once it is rounded
    at_points = {
        f"the guide's site {name!r}"
        for name, site in drawn_sites(vectorized.guide).items()
        if is_point_mass(site["fn"])
    }
    for row in (0, count - 1):
        given = with_values(vectorized.latents(), partial(_of_unit, structure=structure, row=row))
        for name in structure.plates:  # a plate that is replayed would be as long as it was
            if name in given.nodes:
                given.remove_node(name)
        alone = _alone(case, given, row).scores(structure.resized(1))
        found = difference(
            {n: s[:, row : row + 1] for n, s in whole.items() if n not in at_points},
            {n: s for n, s in alone.items() if n not in at_points},
        )
        if found:
            raise InputError(
                f"datum {row} alone scores otherwise by {found[1]:.3g} nats at {found[0]} than among "
                f"the {count}: something looks at the whole batch (a mean, BatchNorm in train mode)"
            )
    return _batch_norms(case)


def _of_unit(site: Site, structure: Structure, row: int) -> Tensor:
    value: Tensor = site["value"]
    dim = value.dim() - site["fn"].event_dim + structure.dim
    return value if dim < 0 or value.shape[dim] == 1 else value.narrow(dim, row, 1)


def _alone(case: Case, given: poutine.Trace, row: int) -> Traces:
    """The traces of one row; a program that takes neither that nor all but one has a size of its own."""
    own_size = NotApplicable(f"it takes {len(case.args[0])} data alone")
    try:
        traces = case.traces(given, tuple(arg[row : row + 1] for arg in case.args))
    except InputError as error:
        try:
            case.traces(args=tuple(arg[:-1] for arg in case.args))
        except InputError:
            raise own_size from error
        raise InputError(f"it takes no batch of a single datum: {error}") from error
    for trace in (traces.guide, traces.model):
        for site in sample_sites(trace).values():
            if site["fn"].batch_shape[case.structure.dim] > 1:  # an AutoGuide, a mask that it holds
                raise own_size
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
    return f"in training {', '.join(map(repr, norms))} look at the whole batch (BatchNorm)"


def particles(case: Case) -> str:
    """Particles that are drawn together score as they do one by one."""
    structure = case.structure
    if case.call.vectorized:
        return ""
    with torch.no_grad(), pyro.validation_enabled(False):
        try:
            vectorized = _two_together(case)
        except (InputError, ValueError, RuntimeError) as error:
            raise NotApplicable(f"it takes one draw a call: {error}") from error
        both = vectorized.scores(structure)
        for k in range(2):
            given = with_values(
                vectorized.latents(), partial(of_particles, structure=structure, some=k)
            )
            one = case.traces(given).scores(structure)
            found = difference(
                {name: s[k : k + 1] if len(s) > 1 else s for name, s in both.items()}, one
            )
            if found:
                raise InputError(
                    f"of two particles drawn together one scores otherwise by {found[1]:.3g} nats at "
                    f"{found[0]} than by itself: something counts dimensions from the left (a mean "
                    "over 0, a reshape); count from the right"
                )
    raise InputError("two particles drawn together score otherwise than one by one")


def _two_together(case: Case) -> Traces:
    """Discrete latents that the model alone has are drawn, not summed out, so that sites compare."""
    program, plate = case.program, particle_plate(2, case.structure)
    guide = run("guide", plate(program.guide), case.args, {})
    return Traces(
        guide, run("model", poutine.replay(plate(program.model), guide), case.args, {}), 2
    )
