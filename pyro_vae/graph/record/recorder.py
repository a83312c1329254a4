"""Run a model or guide once, and record its statements and what each depends on."""

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
from pyro_vae.graph.record.arguments import TensorArgument, check_arguments, tensor_arguments
from pyro_vae.graph.record.networks import Networks, ParameterBox
from pyro_vae.graph.record.provenance import NOTHING, Origin, Tracker, ValueRead, storage_of
from pyro_vae.graph.record.restore import copies, restored
from pyro_vae.graph.record.statements import (
    Statement,
    base_distribution,
    constant_parameters,
    constraint_name,
    dtype_of_draw,
    max_plate_nesting_of,
    parameter_origins,
    statement_of,
)
from pyro_vae.program.contract import Program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.sum_out import enumerating
from pyro_vae.program.trace import run

SEED = 0  # of the runs that need values: the same program gives the same graph
MAX_EXTRA = 4  # plates at most beyond the first site that enumeration needs


@dataclass(frozen=True)
class Recording:
    """Hold what one call did, in the program's order."""

    statements: Mapping[str, Statement]
    data: Mapping[str, TensorArgument]
    boxes: Mapping[str, ParameterBox]  # by the name of the parameter's origin
    value_reads: tuple[ValueRead, ...]
    trace: poutine.Trace | None = field(repr=False, default=None)  # with values, if there are any


@dataclass(frozen=True)
class Recorder:
    """Record the model or the guide of a program, called with given arguments."""

    role: str  # "model" or "guide"
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    modules: Mapping[str, nn.Module]
    names: Callable[..., Any]  # has the arguments' names if ``function`` takes ``*args``

    def record(self) -> Recording:
        """Record a run on shapes alone; where the function needs values, one on values.

        Where that fails and some sites are to be enumerated, record a run on all of their values.

        Raises:
            InputError: the arguments do not fit, or the function raises (the error names the site).
        """
        check_arguments(self.role, self.function, self.args, self.kwargs)
        try:
            return self.record_once(values=False)
        except Exception:  # whatever shapes alone cannot do, values may
            statements: dict[str, Statement] = {}
        try:
            return self.record_once(values=True, statements=statements)
        except InputError:
            if all("enumerated" not in statement.marks for statement in statements.values()):
                raise
            nesting = max(max_plate_nesting_of(s.frames) for s in statements.values())
            for extra in range(MAX_EXTRA):  # plates that the failed run did not reach
                with contextlib.suppress(InputError):
                    return self.record_once(values=True, max_plate_nesting=nesting + extra)
            raise

    def record_once(
        self,
        values: bool,
        replayed: poutine.Trace | None = None,
        seed: int = SEED,
        max_plate_nesting: int | None = None,
        statements: dict[str, Statement] | None = None,
    ) -> Recording:
        """Record one run, on values or on shapes alone.

        Args:
            values: whether tensors have values.
            replayed: the draws to repeat.
            seed: where other draws start.
            max_plate_nesting: enumerate in parallel, to the left of so many dimensions of plates.
            statements: filled as the run goes on.
        """
        args, kwargs = copies((self.args, dict(self.kwargs)), values)
        data = tensor_arguments(self.function, self.names, args, kwargs)
        tracker = Tracker(values)
        networks = Networks(self.modules, self.function, tracker.is_computed)
        for name, (leaf, _) in data.items():
            tracker.tag(leaf, frozenset({Origin("data", name)}))
        for parameter in networks.parameters.values():
            tracker.tag_parameter(parameter.tensor)
        statements = {} if statements is None else statements
        messenger = _StatementMessenger(self.role, tracker, networks, statements, max_plate_nesting)
        function = self.function
        if max_plate_nesting is not None:
            function = enumerating(function, max_plate_nesting, beside_particles=False)
        if replayed is not None:
            function = poutine.replay(function, trace=replayed)
        with self._isolated(seed, values), networks.watching(tracker.tag_parameter):
            with pyro.validation_enabled(False), torch.set_grad_enabled(values), tracker, messenger:
                trace = run(self.role, function, args, kwargs)
            boxes = _parameter_boxes(networks, messenger)
        return Recording(
            statements,
            {name: datum for name, (_, datum) in data.items()},
            boxes,
            tuple(tracker.value_reads),
            trace if values and max_plate_nesting is None else None,
        )

    @contextlib.contextmanager
    def set_up(self) -> Iterator[None]:
        """Run once, so that runs inside find what only a first one makes: an autoguide's parameters."""
        args, kwargs = copies((self.args, dict(self.kwargs)), values=True)
        with self._isolated(SEED, values=True), pyro.validation_enabled(False):
            with contextlib.suppress(InputError):
                run(self.role, self.function, args, kwargs)
            yield

    @contextlib.contextmanager
    def _isolated(self, seed: int, values: bool) -> Iterator[None]:
        """Undo what runs inside do; their draws start from ``seed``."""
        program = Program(self.function, self.function, self.modules)
        dtype = torch.get_default_dtype()
        with undisturbed(program, seed=seed), restored(self.function, self.modules, values):
            try:
                yield
            finally:
                torch.set_default_dtype(dtype)


class _StatementMessenger(Messenger):
    """Note each statement as the program's own handlers leave it: the outermost handler."""

    def __init__(
        self,
        role: str,
        tracker: Tracker,
        networks: Networks,
        statements: dict[str, Statement],
        max_plate_nesting: int | None,
    ) -> None:
        super().__init__()
        self.role, self.tracker, self.networks = role, tracker, networks
        self.statements, self.max_plate_nesting = statements, max_plate_nesting
        self.boxes: dict[str, ParameterBox] = {}

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if not isinstance(msg["name"], str):
            name = repr(msg["name"])
            raise InputError(
                f"the {self.role} has a site named {name}", subject=name, expected="a string"
            )
        if msg["value"] is None:
            if _is_plain_function(msg["fn"]):  # its value depends on what computes it
                msg["value"] = _draw(msg)
                return
            with self.tracker.paused():
                msg["value"] = _draw(msg) if self.tracker.values else _shape_of_draw(msg)

    def _pyro_post_sample(self, msg: dict[str, Any]) -> None:
        if isinstance(msg["fn"], _Subsample):
            return
        self.networks.note_statement()
        if msg["is_observed"] and any(isinstance(m, GuideMessenger) for m in _PYRO_STACK):
            return  # a site of the model, which such a guide runs
        if isinstance(msg["value"], int | float | np.number | np.bool_):
            msg["value"] = torch.as_tensor(msg["value"])  # a plain number cannot be tracked
        name, value = msg["name"], msg["value"]
        value_origins = self.tracker.origins(value)
        is_function = _is_plain_function(msg["fn"])
        origins = {"": value_origins} if is_function else parameter_origins(msg["fn"], self.tracker)
        if not msg["is_observed"]:
            value_origins = NOTHING
        with self.tracker.paused():
            constants = {} if is_function else constant_parameters(msg["fn"], self.tracker)
            self.statements[name] = statement_of(
                self.role, msg, origins, constants, value_origins, self.max_plate_nesting
            )
        if isinstance(value, Tensor):
            with self.tracker.paused():  # own storage: views of data stay data
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
        words = None if constraint in (None, dist.constraints.real) else constraint_name(constraint)
        self.boxes[key] = ParameterBox(name, "Parameter", value.numel(), shape, words)
        self.networks.registered[int(key)] = name
        own = Origin("parameters", key)
        if own not in self.tracker.origins(value):  # its initial value does not count
            for tensor in (unconstrained, value):
                self.tracker.tag(tensor, frozenset({own}))


def _is_plain_function(fn: Any) -> bool:
    """Return whether a plain function draws the site: Pyro takes one in place of a distribution."""
    return not callable(getattr(fn, "log_prob", None))


def _draw(msg: dict[str, Any]) -> Any:
    return msg["fn"](*msg["args"], **msg["kwargs"])


def _shape_of_draw(msg: dict[str, Any]) -> Any:
    """Return a tensor like a draw; some samplers need values, or have no meta kernel."""
    fn = msg["fn"]
    if isinstance(fn, _Subsample):
        return torch.empty(fn.subsample_size or fn.size, dtype=torch.long)
    base = base_distribution(fn)
    is_flat = isinstance(base, dist.ImproperUniform)  # it has no draws, only their shape
    if not is_flat and not type(base).__module__.startswith(("pyro.", "torch.")):
        return _draw(msg)
    return torch.empty(fn.shape(*msg["args"], **msg["kwargs"]), dtype=dtype_of_draw(fn))


def _parameter_boxes(networks: Networks, messenger: _StatementMessenger) -> dict[str, ParameterBox]:
    """Return the box of each parameter, named by the module that holds it, or by its statement."""
    held = networks.boxes()
    constraints = {key: box.constraint for key, box in messenger.boxes.items()}
    hidden = {
        str(storage_of(tensor)[0]): ParameterBox(
            name, "Parameter", tensor.numel(), tuple(tensor.shape)
        )
        for name, tensor in pyro.get_param_store()._params.items()
    }
    return (
        hidden
        | messenger.boxes
        | {
            key: replace(box, constraint=constraints.get(key)) if box.shape is not None else box
            for key, box in held.items()
        }
    )
