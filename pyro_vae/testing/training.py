"""Checks of the training step: every parameter moves, and the step as a graph is the same step."""

import warnings

import torch

from pyro_vae.errors import InputError
from pyro_vae.inference.compiling.fx_capture import (
    CannotCapture,
    Checks,
    capture,
    side_effect,
    tensors_of,
    unchecked,
)
from pyro_vae.inference.svi.compiled_step import Compiled, Engine, kept
from pyro_vae.testing.case import NUM_STEPS, Case, NotApplicable


def trains(case: Case) -> str:
    """Every parameter of model and guide is registered, and a few steps change it."""
    step = case.step()
    before = {name: p.detach().clone() for name, p in case.parameters.items()}
    with case.train_mode():
        step.check_everything_trains(case.args)
    case.train()
    for name, value in before.items():
        parameter = case.parameters[name]
        if torch.equal(value, parameter.detach()):
            has_gradient = parameter.grad is not None
            reason = "its gradient is zero" if has_gradient else "no gradient reaches it"
            raise InputError(
                f"{NUM_STEPS} steps leave parameter {name!r} unchanged, because {reason}",
                subject=name,
                remedy="use it without detaching, or freeze it with `requires_grad_(False)`",
            )
    return f"{len(before)} parameters"


def captured_step(case: Case) -> str:
    """A training step captured as a graph has the loss and the gradients of Pyro's."""
    run = Compiled(case.step(), "on", {}, tempered=False)
    # tracing writes to the tensors that the program writes to
    with case.train_mode(), kept(tensors_of(run.owners)), unchecked(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checks = Checks()
        effect = side_effect(
            case.loss, run.owners
        )  # in training, which may have more than evaluation
        if effect is not None:
            raise NotApplicable(f"it runs step by step in Python: {effect}")
        try:
            run.refuse_what_no_graph_shows(case.args)
            graph = capture(run.function(checks), run.weight(1.0), *case.args)
        except CannotCapture as reason:
            raise NotApplicable(f"it runs step by step in Python: {reason}") from reason
        engine = Engine(graph.module, graph.tensors, checks.complete, graph.fixed)
        try:
            run.compare(engine, case.args, tolerance=1e-3)
        except CannotCapture as reason:
            raise InputError(
                f"a step captured as a graph differs from the step in Python: {reason}",
                subject="graph",
                remedy='fit with compile="off", or make both branches of Python code compute the same',
            ) from reason
    return ""
