"""How a program learns: every parameter, by the right gradient, to be saved, and captured as a graph."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae import checkpoint
from pyro_vae.errors import InputError
from pyro_vae.inference.compiling.fx_capture import CannotCapture
from pyro_vae.inference.compiling.side_effects import side_effect
from pyro_vae.inference.evidence.importance import Importance, bytes_per_particle
from pyro_vae.inference.svi.step_graph import StepCapture, WrongGraph
from pyro_vae.inference.svi.trained_parameters import check_everything_trains
from pyro_vae.program.particles import read_particles
from pyro_vae.program.probe import difference
from pyro_vae.program.trace import drawn_sites
from pyro_vae.program.wrappers import innermost
from pyro_vae.testing.case import STEPS, Case, NotApplicable

# whose draws are a smooth function of their parameters at given noise, with that very gradient; those
# of a Gamma or a mixture have a gradient too, but not the one of what the generator does
SMOOTH = (
    dist.Cauchy,
    dist.Delta,
    dist.Exponential,
    dist.Gumbel,
    dist.HalfNormal,
    dist.Laplace,
    dist.LowRankMultivariateNormal,
    dist.MultivariateNormal,
    dist.Normal,
    dist.Uniform,
)
# of two estimates that are compared: draws there, and gradients here, of some draws each
DRAWS, REPEATS = (200, 3000), 50
POINTING = 10  # gradients of these that say in which direction
SHORTER = 8  # by which differences at draws that stay take a shorter step
MEMORY = 2**26  # bytes that the draws may take: what a large mixture scores takes time, too
SIGMAS = 5


def trains(case: Case) -> str:
    """Every parameter of model and guide is known, and a few steps change it."""
    step = case.step()
    before = {name: p.detach().clone() for name, p in case.parameters.items()}
    with case.training():
        check_everything_trains(step.loss, case.parameters, case.args)
        for _ in range(STEPS):
            step(case.args)
    for name, value in before.items():
        if torch.equal(value, case.parameters[name].detach()):
            why = (
                "its gradient is zero"
                if case.parameters[name].grad is not None
                else ("no gradient reaches it: it is not used, or detached")
            )
            raise InputError(
                f"{STEPS} steps leave parameter {name!r} as it was; {why} (freeze by "
                "`requires_grad_(False)` what is not to be trained)"
            )
    return f"{len(before)} parameters"


def gradients(case: Case) -> str:
    """The gradient is finite, and that of the ELBO by finite differences."""
    if not case.parameters:
        raise NotApplicable("it has no parameters")
    parameters = case.parameters
    slopes = torch.autograd.grad(_loss(case), list(parameters.values()), allow_unused=True)
    given = [
        torch.zeros_like(p) if s is None else s
        for p, s in zip(parameters.values(), slopes, strict=True)
    ]
    for name, slope in zip(parameters, given, strict=True):
        if not slope.isfinite().all():
            raise InputError(f"the gradient for {name!r} is not finite")
    for name, site in drawn_sites(case.traces().guide).items():
        if isinstance(innermost(site["fn"]), dist.OneHotCategoricalStraightThrough):
            raise NotApplicable(
                f"the gradient through {name!r} is the straight-through one, which is biased by intent"
            )
    if _is_rough(case):
        return _by_many_draws(case)
    for (name, parameter), slope in zip(parameters.items(), given, strict=True):
        direction = _direction(slope)
        expected, error = _difference(case, parameter, direction)
        found = float((slope * direction).sum())
        if abs(found - expected) > error + 0.02 * (abs(found) + abs(expected)):
            raise InputError(_biased(name, found, expected))
    return "equal to finite differences under the same noise"


def _loss(case: Case) -> Tensor:
    pyro.set_rng_seed(case.seed)
    return case.loss()


def _biased(name: str, found: float, expected: float) -> str:
    return (
        f"the gradient for {name!r} is not the ELBO's: {found:.4g} along one direction, where finite "
        f"differences give {expected:.4g}; something is detached (`.detach()`, `.data`, `no_grad`)"
    )


def _direction(gradient: Tensor) -> Tensor:
    """Of length 1, half along the gradient: by itself it would not show what the gradient lacks."""
    random = torch.randn_like(gradient)
    random = random / random.norm().clamp(min=1e-30)
    if (random * gradient).sum() < 0:  # or the two cancel, wholly so in one dimension
        random = -random
    direction = random + gradient / gradient.norm().clamp(min=1e-30)
    return direction / direction.norm().clamp(min=1e-30)


@contextmanager
def _moved(parameter: Tensor, by: Tensor) -> Iterator[None]:
    value = parameter.detach().clone()
    try:
        with torch.no_grad():
            parameter.add_(by)
        yield
    finally:
        with torch.no_grad():
            parameter.copy_(value)


def _reach(parameter: Tensor) -> float:
    """How far to go: where the errors of rounding and of curvature are about the same."""
    return float(torch.finfo(parameter.dtype).eps ** (1 / 3) * (1 + parameter.detach().norm()))


def _difference(case: Case, parameter: Tensor, direction: Tensor) -> tuple[float, float]:
    """The loss's slope along a direction under the same noise, and how wrong it may be."""
    reach = _reach(parameter)

    def slope(reach: float) -> tuple[float, float]:
        ends = []
        for sign in (1, -1):
            with _moved(parameter, sign * reach * direction):
                ends.append(float(_loss(case).detach()))
        return (ends[0] - ends[1]) / (2 * reach), abs(ends[0])

    near, size = slope(reach)
    far, _ = slope(2 * reach)
    rounding = 20 * torch.finfo(parameter.dtype).eps * (1 + size) / reach
    return near, 10 * abs(far - near) + rounding


def _is_rough(case: Case) -> bool:
    """Whether the guide draws what the same noise may not move smoothly with its parameters."""
    for site in drawn_sites(case.traces().guide).values():
        fn = innermost(site["fn"])
        summed_out = site["infer"].get("enumerate") is not None
        if not summed_out and not (fn.has_rsample and isinstance(fn, SMOOTH)):
            return True
    return False


def _by_many_draws(case: Case) -> str:
    """Both in expectation: the mean of many gradients, and differences at draws that stay.

    With z fixed, d ELBO = E[d f + (f - E f) d log q], f = log p(x, z) - log q(z | x), which needs no
    gradient of a draw.
    """
    if not case.call.vectorized:
        raise NotApplicable("it takes one draw a call, and differences want many")
    afforded = MEMORY // bytes_per_particle(Importance(), case.call)
    count = min(max(DRAWS[0], afforded), DRAWS[1])
    parameters, elbo = case.parameters, case.elbo_of(count // REPEATS)
    samples = [
        torch.autograd.grad(case.loss(elbo), list(parameters.values()), allow_unused=True)
        for _ in range(REPEATS)
    ]
    figures = _at_fixed_draws(case, count)
    f, _ = figures()
    for i, (name, parameter) in enumerate(parameters.items()):
        given = [torch.zeros_like(parameter) if s[i] is None else s[i] for s in samples]
        # from draws of its own: a direction in which noise points is no fair one to judge it in
        direction = _direction(torch.stack(given[:POINTING]).mean(0))
        wanted, curved = _slopes(figures, f, parameter, direction)
        found = torch.stack([(g * direction).sum() for g in given[POINTING:]])
        gap = abs(float(wanted.mean() - found.mean()))
        error = float((wanted.var() / len(wanted) + found.var() / len(found)).sqrt())
        scale = abs(float(wanted.mean())) + abs(float(found.mean()))
        if gap > SIGMAS * error + curved + 0.02 * scale:
            raise InputError(_biased(name, float(found.mean()), float(wanted.mean())))
    return f"equal to finite differences within {SIGMAS} standard errors"


def _slopes(
    figures: Callable[[], tuple[Tensor, Tensor]], f: Tensor, parameter: Tensor, direction: Tensor
) -> tuple[Tensor, float]:
    """Minus the ELBO's slopes at draws that stay, (K,), and how wrong curvature may make their mean.

    A code or a class may change within the step that suits a smooth loss, and rounding averages out here,
    so this one is shorter. The error of a step of h is a third of what one of 2 h differs by.
    """

    def slopes(reach: float) -> Tensor:
        ends = []
        for sign in (1, -1):
            with _moved(parameter, sign * reach * direction):
                ends.append(figures())
        f_slope, q_slope = ((a - b) / (2 * reach) for a, b in zip(*ends, strict=True))
        return -(f_slope + q_slope * (f - f.mean(0))).mean(1)

    reach = _reach(parameter) / SHORTER
    near, far = slopes(reach), slopes(2 * reach)
    return near, abs(float(far.mean() - near.mean()))


def _at_fixed_draws(case: Case, count: int) -> Callable[[], tuple[Tensor, Tensor]]:
    """The log-weights and the guide's log-probabilities, (K, units) each, at draws that stay."""
    call = case.call
    with torch.no_grad():
        drawn = call.guide(count)

    def figures() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            guide = call.guide(count, lambda function: poutine.replay(function, drawn))
            all_ = read_particles(call.joint(count, drawn), guide, call.structure, count)
        return all_.log_weights, all_.log_guide

    return figures


def saves(case: Case) -> str:
    """What is saved, and loaded again after some training, gives the same figures."""
    if not case.learnt:
        raise NotApplicable("it has neither parameters nor buffers")
    before = _scores(case)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.safetensors"
        checkpoint.write(path, case.learnt, {})
        if case.parameters:
            step = case.step()
            with case.training():
                for _ in range(STEPS):
                    step(case.args)
        tensors, _ = checkpoint.read(path)
        checkpoint.load_into(case.learnt, tensors, path)
    found = difference(before, _scores(case))
    if found:
        raise InputError(
            f"trained and loaded again as it was saved, {found[0]} scores otherwise by {found[1]:.3g} "
            "nats: what training changes is not all in parameters and buffers (`register_buffer`)"
        )
    return f"{len(case.learnt)} tensors" + "".join(
        f"; {name!r} is a plain tensor, which no checkpoint holds: if it is not the same whenever the "
        "model is made, `register_buffer` keeps it"
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


def captured_step(case: Case) -> str:
    """A step that is captured as a graph has the loss and the gradients of Pyro's."""
    capture = StepCapture(case.step().loss, case.parameters, is_tempered=False)
    with case.training(), capture.isolated():
        effect = side_effect(
            case.loss, capture.owners
        )  # of training, which evaluation may not have
        if effect is not None:
            raise NotApplicable(f"it runs step by step in Python: {effect}")
        try:
            capture.check_python(case.args)
            _, graph = capture.capture(case.args)
            capture.compare(graph, case.args, tolerance=1e-3)
        except WrongGraph as reason:
            raise InputError(f"a step captured as a graph is another one: {reason}") from reason
        except CannotCapture as reason:
            raise NotApplicable(f"it runs step by step in Python: {reason}") from reason
    return ""
