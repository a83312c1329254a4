"""Pyro's param store: hiding and forgetting parameters."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import pyro
from torch import nn

from pyro_vae.program.contract import Program


@contextmanager
def own_parameters(program: Program) -> Iterator[None]:
    """Hide the parameters of other programs in Pyro's param store.

    PyroModules and ``pyro.module`` prefer the store's parameter to the module's own, so a second model of
    the same class would silently work with the first one's. Parameters that this program registers stay.
    """
    if not program.modules:
        yield
        return
    store = pyro.get_param_store()
    own = {id(p) for module in program.modules.values() for p in module.parameters()}
    before = store.get_state()
    strangers = {
        name
        for name, value in before["params"].items()
        if isinstance(value, nn.Parameter) and id(value) not in own
    }
    forget(strangers)
    try:
        yield
    finally:
        after = store.get_state()
        store.clear()
        store.set_state(
            {
                "params": {**before["params"], **after["params"]},
                "constraints": {**before["constraints"], **after["constraints"]},
            }
        )


def forget(names: Collection[str]) -> None:
    """Take parameters out of Pyro's store, also two names of one parameter, where ``del`` raises."""
    store = pyro.get_param_store()
    held = store.get_state()
    store.clear()
    store.set_state(
        {
            "params": {n: v for n, v in held["params"].items() if n not in names},
            "constraints": {n: v for n, v in held["constraints"].items() if n not in names},
        }
    )
