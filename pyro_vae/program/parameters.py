"""Where a program's parameters are: in its modules, or in Pyro's store."""

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
    """The parameters of the program's modules, by name; one that two names share is given once."""
    return {
        prefix + name: parameter
        for prefix, module in program.modules.items()
        for name, parameter in module.named_parameters()
    }


def stored_parameters(program: Program, *args: Any, seed: int | None = None) -> dict[str, Tensor]:
    """What the program keeps in Pyro's store and in none of its modules: by name, unconstrained.

    Guide and model are run once for it. What they register in the store stays there, as after any
    run; nothing else is changed. With ``seed``, values drawn at random for the start come from it.
    """
    store = pyro.get_param_store()
    with undisturbed(program, seed), torch.no_grad():
        guide_trace = run("guide", program.guide, args, {})
        # not by itself, for a prior may be one that nothing can be drawn from
        model_trace = run_at(guide_trace, program.model, args, {})
        by_then = store.get_state()
    store.set_state(by_then)
    return registered(program, guide_trace, model_trace)


def registered(program: Program, *traces: poutine.Trace) -> dict[str, Tensor]:
    """The parameters that traces have reached in Pyro's store and that no module of the program holds."""
    sites = (item for trace in traces for item in trace.nodes.items())
    used = {name for name, site in sites if site["type"] == "param"}
    own = {id(p) for module in program.modules.values() for p in module.parameters()}
    kept = pyro.get_param_store().get_state()["params"]
    return {name: kept[name] for name in kept if name in used and id(kept[name]) not in own}


def hidden_parameters(reached: Iterable[Tensor]) -> dict[str, Tensor]:
    """Those of the tensors that Pyro's store keeps, by name.

    Where a loss reaches one that :func:`stored_parameters` does not have, the program hides it
    (`poutine.block`). Pyro's SVI trains what it sees in the trace, so it leaves such a one as it is.
    """
    names = {id(p): name for name, p in pyro.get_param_store().get_state()["params"].items()}
    return {names[id(tensor)]: tensor for tensor in reached if id(tensor) in names}
