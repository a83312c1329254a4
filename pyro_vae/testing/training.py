"""Checks of the training step: every parameter moves, and the step as a graph is the same step."""

import torch

from pyro_vae.errors import InputError
from pyro_vae.inference.compiling.fx_capture import CannotCapture
from pyro_vae.inference.compiling.side_effects import side_effect
from pyro_vae.inference.svi.step_graph import StepCapture, WrongGraph
from pyro_vae.inference.svi.trained_parameters import check_everything_trains
from pyro_vae.testing.case import NUM_STEPS, Case, NotApplicable


def trains(case: Case) -> str:
    """Every parameter of model and guide is registered, and a few steps change it."""
    step = case.step()
    before = {name: p.detach().clone() for name, p in case.parameters.items()}
    with case.train_mode():
        check_everything_trains(step.loss, case.parameters, case.args)
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
    capture = StepCapture(case.step().loss, case.parameters, is_tempered=False)
    with case.train_mode(), capture.isolated():
        # in training, which may have more side effects than evaluation
        effect = side_effect(case.loss, capture.owners)
        if effect is not None:
            raise NotApplicable(f"it runs step by step in Python: {effect}")
        try:
            capture.check_python(case.args)
            _, graph = capture.capture(case.args)
            capture.compare(graph, case.args, tolerance=1e-3)
        except WrongGraph as reason:
            raise InputError(
                f"a step captured as a graph differs from the step in Python: {reason}",
                subject="graph",
                remedy='fit with compile="off", or make both branches of Python code compute the same',
            ) from reason
        except CannotCapture as reason:
            raise NotApplicable(f"it runs step by step in Python: {reason}") from reason
    return ""
