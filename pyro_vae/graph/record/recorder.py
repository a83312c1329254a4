"""Runs one Pyro function and notes what each of its statements is and depends on."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import _PYRO_STACK
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.graph.record.calls import Datum, arguments_of, check_call
from pyro_vae.graph.record.networks import Networks, ParameterBox
from pyro_vae.graph.record.provenance import NOTHING, Escape, Origin, Tracker, storage_of
from pyro_vae.graph.record.restore import copies, kept
from pyro_vae.graph.record.sites import (
    Site,
    arguments,
    base_distribution,
    describe,
    dtype_of_draw,
    nesting_of,
    site_of,
)
from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.trace import run

SEED = 0  # of the runs that need values: the same program gives the same graph
DEEPER = 4  # plates at most beyond the first site that enumeration needs


@dataclass(frozen=True)
class Record:
    """What one call did, in the program's order."""

    sites: Mapping[str, Site]
    data: Mapping[str, Datum]
    boxes: Mapping[str, ParameterBox]  # by the name of the parameter's origin
    escapes: tuple[Escape, ...]
    trace: poutine.Trace | None = field(repr=False, default=None)  # with values, if there are any


@dataclass(frozen=True)
class Runner:
    """One part of a program and the arguments of one call."""

    part: str  # "model" or "guide"
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    modules: Mapping[str, nn.Module]
    names: Callable[..., Any]  # has the arguments' names if ``function`` takes ``*args``

    def record(self) -> Record:
        """Runs ``function`` on shapes alone; only if it asks for values on values; and only if it
        fails there, and has sites to sum out, on all of their values together.

        :raises InputError: the call's arguments do not fit, or it raises; with the site.
        """
        check_call(self.part, self.function, self.args, self.kwargs)
        try:
            return self.observe(values=False)
        except Exception:  # whatever shapes alone cannot do is tried with values
            seen: dict[str, Site] = {}
        try:
            return self.observe(values=True, sites=seen)
        except InputError:
            if all("enumerated" not in site.marks for site in seen.values()):
                raise
            nesting = max(nesting_of(site.frames) for site in seen.values())
            for deeper in range(DEEPER):  # plates that the run did not come to
                with contextlib.suppress(InputError):
                    return self.observe(values=True, nesting=nesting + deeper)
            raise

    def observe(
        self,
        values: bool,
        replayed: poutine.Trace | None = None,
        seed: int = SEED,
        nesting: int | None = None,
        sites: dict[str, Site] | None = None,
    ) -> Record:
        """One run, on real values or on shapes alone.

        :param replayed: draws to take.
        :param nesting: sum out in parallel, left of so many dimensions of plates.
        :param sites: is filled as the run goes on.
        """
        args, kwargs = copies((self.args, dict(self.kwargs)), values)
        data = arguments_of(self.function, self.names, args, kwargs)
        tracker = Tracker(values)
        networks = Networks(self.modules, self.function, tracker.is_made)
        for name, (leaf, _) in data.items():
            tracker.tag(leaf, frozenset({Origin("data", name)}))
        for parameter in networks.found.values():
            tracker.tag_parameter(parameter.tensor)
        recorder = _Recorder(self.part, tracker, networks, {} if sites is None else sites, nesting)
        function = self.function
        if nesting is not None:
            function = poutine.enum(function, first_available_dim=-1 - nesting)
        if replayed is not None:
            function = poutine.replay(function, trace=replayed)
        with self._unchanged(seed, values), networks.watched(tracker.tag_parameter):
            with pyro.validation_enabled(False), torch.set_grad_enabled(values), tracker, recorder:
                trace = run(self.part, function, args, kwargs)
            boxes = _boxes(networks, recorder)
        return Record(
            recorder.sites,
            {name: datum for name, (_, datum) in data.items()},
            boxes,
            tuple(tracker.escapes),
            trace if values and nesting is None else None,
        )

    @contextlib.contextmanager
    def rehearsed(self) -> Iterator[None]:
        """What only a first run makes, such as an autoguide's parameters, is there for runs inside."""
        args, kwargs = copies((self.args, dict(self.kwargs)), values=True)
        with self._unchanged(SEED, values=True), pyro.validation_enabled(False):
            with contextlib.suppress(InputError):
                run(self.part, self.function, args, kwargs)
            yield

    @contextlib.contextmanager
    def _unchanged(self, seed: int, values: bool) -> Iterator[None]:
        """Takes back what runs inside do, and draws from ``seed`` on."""
        program = Program(self.function, self.function, self.modules)
        dtype = torch.get_default_dtype()
        with undisturbed(program, seed=seed), kept(self.function, self.modules, values):
            try:
                yield
            finally:
                torch.set_default_dtype(dtype)


class _Recorder(Messenger):
    """Outermost handler: sees each statement as the program's own handlers left it."""

    def __init__(
        self,
        part: str,
        tracker: Tracker,
        networks: Networks,
        sites: dict[str, Site],
        nesting: int | None,
    ) -> None:
        super().__init__()
        self.part, self.tracker, self.networks = part, tracker, networks
        self.sites, self.nesting = sites, nesting
        self.boxes: dict[str, ParameterBox] = {}

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if not isinstance(msg["name"], str):
            raise InputError(f"the {self.part} has a site {msg['name']!r}: a name must be a string")
        if msg["value"] is None:
            if _is_function(msg["fn"]):  # what its value depends on is seen as it is computed
                msg["value"] = _draw(msg)
                return
            with self.tracker.paused():
                msg["value"] = _draw(msg) if self.tracker.values else _shape_of_draw(msg)

    def _pyro_post_sample(self, msg: dict[str, Any]) -> None:
        if isinstance(msg["fn"], _Subsample):
            return
        self.networks.note_statement()
        if msg["is_observed"] and any(isinstance(m, GuideMessenger) for m in _PYRO_STACK):
            return  # of the model, which such a guide runs
        if isinstance(msg["value"], int | float | np.number | np.bool_):
            msg["value"] = torch.as_tensor(msg["value"])  # a plain number leaves no trace
        name, value = msg["name"], msg["value"]
        own = self.tracker.origins(value)
        found = {"": own} if _is_function(msg["fn"]) else arguments(msg["fn"], self.tracker)
        with self.tracker.paused():
            own = own if msg["is_observed"] else NOTHING
            self.sites[name] = site_of(self.part, msg, found, own, self.nesting)
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


def _is_function(fn: Any) -> bool:
    """Whether a site draws by a plain function, which Pyro takes in place of a distribution."""
    return not callable(getattr(fn, "log_prob", None))


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
    hidden = {
        str(storage_of(tensor)[0]): ParameterBox(
            name, "Parameter", tensor.numel(), tuple(tensor.shape)
        )
        for name, tensor in pyro.get_param_store()._params.items()
    }
    return (
        hidden
        | recorder.boxes
        | {
            key: replace(box, constraint=constraints.get(key)) if box.shape is not None else box
            for key, box in held.items()
        }
    )
