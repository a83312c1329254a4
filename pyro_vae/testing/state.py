"""Checks of a program's state: what it keeps between calls, in a checkpoint and on a GPU."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pyro
import torch
from torch import Tensor

from pyro_vae import checkpoint
from pyro_vae.errors import InputError
from pyro_vae.inference.compiling.side_effects import held_tensors, side_effect
from pyro_vae.program.probe import difference
from pyro_vae.testing.case import Case, NotApplicable


def density(case: Case) -> str:
    """Model and guide give the same latents and data the same density at every call."""
    first = case.traces()
    torch.rand(8)
    second = case.again(first)
    gap = difference(first.scores(case.structure), second.scores(case.structure))
    if gap:
        raise InputError(
            f"a second call scores the same latents and data differently, by {gap}",
            subject=gap.site,
            remedy="draw noise by `pyro.sample` alone, and keep nothing between calls",
        )
    return ""


def hidden_state(case: Case) -> str:
    """An evaluation changes no argument, tensor or attribute, and nothing global."""
    program = case.program
    owners = {"model": program.model, "guide": program.guide, **program.modules}
    args = case.copy_rows(len(case.args[0]))
    tensors = [(f"argument {i}", arg) for i, arg in enumerate(args)] + [*case.learnt.items()]
    tensors += [(f"a tensor of shape {tuple(t.shape)}", t) for t in held_tensors(owners)]
    case.traces()  # the first call may fill the store, for instance
    before = [tensor.detach().clone() for _, tensor in tensors]
    settings = _global_settings()
    case.traces(args=args)
    for (name, tensor), value in zip(tensors, before, strict=True):
        same = (value == tensor.detach()) | (value.isnan() & tensor.detach().isnan())
        if not same.all():
            raise InputError(
                f"every run changes {name} in place", subject=name, remedy="use a copy"
            )
    for name, setting in _global_settings().items():
        if setting != settings[name]:
            raise InputError(f"a run changes {name}", subject=name, remedy="leave it unchanged")
    effect = side_effect(case.traces, owners)
    if effect is not None:
        remedy = "use `pyro.sample` or torch's generators, and keep nothing between calls"
        changed = re.search(r"`(.+?)`", effect)
        raise InputError(effect, subject=changed and changed[1], remedy=remedy)
    return ""


def _global_settings() -> dict[str, object]:
    """Return by name the settings of Pyro and torch that a run might change."""
    return {
        "Pyro's settings": pyro.settings.get(),
        "the names in Pyro's param store": sorted(pyro.get_param_store().keys()),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's gradient mode": torch.is_grad_enabled(),
    }


def saves(case: Case) -> str:
    """Saved, trained further and loaded again, the program gives the same scores."""
    if not case.learnt:
        raise NotApplicable("it has neither parameters nor buffers")
    before = _scores(case)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        checkpoint.write(path, case.learnt, {})
        if case.parameters:
            case.train()
        tensors, _ = checkpoint.read(path)
        checkpoint.load_into(case.learnt, tensors, path)
    gap = difference(before, _scores(case))
    if gap:
        raise InputError(
            f"after training and loading the saved state, scores differ by {gap}: training changes "
            "something outside parameters and buffers",
            subject=gap.site,
            remedy="keep it in a buffer (`register_buffer`)",
        )
    return f"{len(case.learnt)} tensors" + "".join(
        f"; no checkpoint holds the plain tensor {name!r}: `register_buffer` keeps it, if it differs "
        "each time the model is made"
        for name in _plain_tensors(case)
    )


def _plain_tensors(case: Case) -> list[str]:
    return [
        f"{prefix}{path}.{name}" if path else f"{prefix}{name}"
        for prefix, root in case.program.modules.items()
        for path, module in root.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, Tensor)
    ]


def _scores(case: Case) -> Mapping[str, Tensor]:
    pyro.set_rng_seed(case.seed)
    return case.traces().scores(case.structure)


def device(case: Case) -> str:
    """The program scores the same on a GPU and on the CPU."""
    if not torch.cuda.is_available():
        raise NotApplicable("there is no GPU here")
    modules = case.program.modules.values()
    if case.stored or not modules:
        raise NotApplicable("plain functions have no module to move")
    home = case.args[0].device
    away = torch.device("cpu" if home.type == "cuda" else "cuda")
    here = case.traces()
    try:
        for module in modules:
            module.to(away)
        args = tuple(arg.to(away) for arg in case.args)
        there = case.again(here, lambda site: site["value"].to(away), args)
        gap = difference(here.scores(case.structure), there.scores(case.structure))
    finally:
        for module in modules:
            module.to(home)
    if gap:
        problem = f"scores on {home.type} and {away.type} differ by {gap}"
        remedy = "make tensors on the device of the data, or register them as buffers"
        raise InputError(problem, subject=gap.site, remedy=remedy)
    return f"{home.type} and {away.type}"
