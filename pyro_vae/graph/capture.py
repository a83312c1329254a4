"""Runs one Pyro function and notes what each of its statements is and depends on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor, nn

from pyro_vae.graph.calls import Datum, arguments_of, check_call
from pyro_vae.graph.networks import Networks, ParameterBox
from pyro_vae.graph.provenance import NOTHING, Escape, Origin, Tracker, storage_of
from pyro_vae.graph.sites import (
    Site,
    arguments,
    base_distribution,
    describe,
    dtype_of_draw,
    site_of,
)
from pyro_vae.isolation import as_found, undisturbed
from pyro_vae.program import Program
from pyro_vae.traces import run

SEED = 0  # of the runs that need values: the same program gives the same graph


@dataclass(frozen=True)
class Record:
    """What one call did, in the program's order."""

    sites: Mapping[str, Site]
    data: Mapping[str, Datum]
    boxes: Mapping[str, ParameterBox]  # by the name of the parameter's origin
    escapes: tuple[Escape, ...]
    trace: poutine.Trace | None = field(repr=False, default=None)  # with values, if there are any


def capture(
    part: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    names: Callable[..., Any] | None = None,
) -> Record:
    """Runs ``function`` on shapes alone, and only if it asks for values on values.

    :param names: where the arguments' names are taken from if ``function`` takes ``*args``.
    :raises InputError: the call's arguments do not fit, or it raises; with the site.
    """
    check_call(part, function, args, kwargs)
    data = arguments_of(function, names or function, args, kwargs)
    try:
        return observe(part, function, args, kwargs, modules, data, values=False)
    except Exception:  # whatever shapes alone cannot do is tried with values
        return observe(part, function, args, kwargs, modules, data, values=True)


def observe(
    part: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    modules: Mapping[str, nn.Module],
    data: Mapping[str, tuple[Any, Datum]],
    values: bool,
    replayed: poutine.Trace | None = None,
    seed: int = SEED,
) -> Record:
    """One run, on real values or on shapes alone; with the draws of ``replayed``, if given."""
    tracker, networks = Tracker(values), Networks(modules, function)
    for name, (leaf, _) in data.items():
        tracker.tag(leaf, frozenset({Origin("data", name)}))

    def know(tensor: Tensor) -> None:
        tracker.tag(tensor, frozenset({Origin("parameters", str(storage_of(tensor)[0]))}))

    for parameter in networks.found.values():
        know(parameter.tensor)
    recorder = _Recorder(tracker, networks)
    program = Program(function, function, modules)
    with undisturbed(program, seed=seed), as_found(modules), networks.watched(know):
        with pyro.validation_enabled(False), torch.set_grad_enabled(values), tracker, recorder:
            replay = function if replayed is None else poutine.replay(function, trace=replayed)
            trace = run(part, replay, args, kwargs)
        boxes = _boxes(networks, recorder)
    return Record(
        recorder.sites,
        {name: datum for name, (_, datum) in data.items()},
        boxes,
        tuple(tracker.escapes),
        trace if values else None,
    )


class _Recorder(Messenger):
    """Outermost handler: sees each statement as the program's own handlers left it."""

    def __init__(self, tracker: Tracker, networks: Networks) -> None:
        super().__init__()
        self.tracker, self.networks = tracker, networks
        self.sites: dict[str, Site] = {}
        self.boxes: dict[str, ParameterBox] = {}

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if msg["value"] is None:
            with self.tracker.paused():
                msg["value"] = _draw(msg) if self.tracker.values else _shape_of_draw(msg)

    def _pyro_post_sample(self, msg: dict[str, Any]) -> None:
        if isinstance(msg["fn"], _Subsample):
            return
        self.networks.note_statement()
        name, value = msg["name"], msg["value"]
        own = self.tracker.origins(value) if msg["is_observed"] else NOTHING
        self.sites[name] = site_of(msg, arguments(msg["fn"], self.tracker), own)
        if isinstance(value, Tensor):
            with self.tracker.paused():  # in storage of its own: views of data stay data
                msg["value"] = value.clone()
            self.tracker.tag(msg["value"], frozenset({Origin("site", name)}))

    def _pyro_post_param(self, msg: dict[str, Any]) -> None:
        value = msg["value"]
        if not isinstance(value, Tensor):
            return
        store, name = pyro.get_param_store(), msg["name"]
        unconstrained = store._params.get(name, value)
        key = str(storage_of(unconstrained)[0])
        name, shape = self.networks.without_prefix(name.replace("$$$", ".")), tuple(value.shape)
        constraint = store._constraints.get(msg["name"], msg["kwargs"].get("constraint"))
        words = None if constraint in (None, dist.constraints.real) else describe(constraint)
        self.boxes[key] = ParameterBox(name, "Parameter", value.numel(), shape, words)
        self.networks.registered[int(key)] = name
        own = Origin("parameters", key)
        if own not in self.tracker.origins(value):  # what it was initialised by does not count
            for tensor in (unconstrained, value):
                self.tracker.tag(tensor, frozenset({own}))


def _draw(msg: dict[str, Any]) -> Any:
    return msg["fn"](*msg["args"], **msg["kwargs"])


def _shape_of_draw(msg: dict[str, Any]) -> Any:
    """What a draw looks like; some samplers need values, or have no meta kernel."""
    fn = msg["fn"]
    if isinstance(fn, _Subsample):
        return torch.empty(fn.subsample_size or fn.size, dtype=torch.long)
    if not type(base_distribution(fn)).__module__.startswith(("pyro.", "torch.")):
        return _draw(msg)
    return torch.empty(fn.shape(*msg["args"], **msg["kwargs"]), dtype=dtype_of_draw(fn))


def _boxes(networks: Networks, recorder: "_Recorder") -> dict[str, ParameterBox]:
    """A parameter is named by the module that holds it, else by its statement."""
    held = networks.boxes()
    constraints = {key: box.constraint for key, box in recorder.boxes.items()}
    return recorder.boxes | {
        key: replace(box, constraint=constraints.get(key)) if box.shape is not None else box
        for key, box in held.items()
    }
