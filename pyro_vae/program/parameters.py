"""A program's parameters: in its modules, or in Pyro's store."""

from collections.abc import Iterable
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.trace import run, run_at


def named_parameters(program: Program) -> dict[str, Tensor]:
    """Return the parameters of the program's modules by name; one with two names occurs once."""
    return {
        prefix + name: parameter
        for prefix, module in program.modules.items()
        for name, parameter in module.named_parameters()
    }


def stored_parameters(program: Program, *args: Any, seed: int | None = None) -> dict[str, Tensor]:
    """Return the parameters in Pyro's store and in no module of the program: by name, unconstrained.

    Guide and model run once. Parameters that they register stay in the store; nothing else changes. Random
    initial values come from ``seed``, if it is given.
    """
    store = pyro.get_param_store()
    with undisturbed(program, seed), torch.no_grad():
        guide_trace = run("guide", program.guide, args, {})
        # at the guide's draws: an improper prior has no draws
        model_trace = run_at(guide_trace, program.model, args, {})
        state = store.get_state()
    store.set_state(state)
    return registered(program, guide_trace, model_trace)


def registered(program: Program, *traces: poutine.Trace) -> dict[str, Tensor]:
    """Return the parameters of traces that Pyro's store holds, and no module of the program."""
    sites = (item for trace in traces for item in trace.nodes.items())
    used = {name for name, site in sites if site["type"] == "param"}
    own = {id(p) for module in program.modules.values() for p in module.parameters()}
    stored = pyro.get_param_store().get_state()["params"]
    return {n: p for n, p in stored.items() if n in used and id(p) not in own}


def hidden_parameters(reached: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return the tensors that Pyro's store holds, by name.

    If a loss reaches one that :func:`stored_parameters` does not return, the program hides it
    (`poutine.block`). Pyro's SVI trains parameters in the trace, so it does not train a hidden one.
    """
    names = {id(p): name for name, p in pyro.get_param_store().get_state()["params"].items()}
    return {names[id(tensor)]: tensor for tensor in reached if id(tensor) in names}
