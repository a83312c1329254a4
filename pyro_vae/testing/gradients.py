"""The check of the gradient: it is that of the ELBO, by finite differences."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.importance import Importance, bytes_per_particle
from pyro_vae.program.particles import read_particles
from pyro_vae.program.trace import drawn_sites
from pyro_vae.program.wrappers import innermost
from pyro_vae.testing.case import Case, NotApplicable

# distributions whose draws, at given noise, are a smooth function of their parameters, with its gradient;
# draws of a Gamma or a mixture have a gradient too, but the generator does not follow it
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
# for the rest, two estimates are compared: from so many fixed draws, and from so many gradients
NUM_DRAWS, NUM_GRADIENTS = (200, 3000), 50
NUM_POINTING = 10  # of these gradients choose the direction
SHORTER = 8  # by which a step at fixed draws is shorter
MAX_MEMORY = 2**26  # bytes of draws, which limits the time too
RELATIVE = 0.02  # of the slopes, always allowed
SIGMAS = 5


def gradients(case: Case) -> str:
    """The gradient is finite, and agrees with finite differences of the ELBO."""
    case.require_parameters()
    found = _gradient(case, _loss(case))
    for name, gradient in zip(case.parameters, found, strict=True):
        if not gradient.isfinite().all():
            raise InputError(
                f"the gradient of {name!r} is not finite",
                subject=name,
                remedy="avoid functions with an infinite slope, such as sqrt at 0",
            )
    sites = drawn_sites(case.traces().guide)
    for name, site in sites.items():
        if isinstance(innermost(site["fn"]), dist.OneHotCategoricalStraightThrough):
            raise NotApplicable(f"the gradient of {name!r} is biased by design (straight-through)")
    summed_out = {
        name for name, site in sites.items() if site["infer"].get("enumerate") is not None
    }
    drawn = [innermost(site["fn"]) for name, site in sites.items() if name not in summed_out]
    is_smooth = all(fn.has_rsample and isinstance(fn, SMOOTH) for fn in drawn)
    return _compare_at_same_noise(case, found) if is_smooth else _compare_at_fixed_draws(case)


def _loss(case: Case) -> Tensor:
    pyro.set_rng_seed(case.seed)
    return case.loss()


def _gradient(case: Case, loss: Tensor) -> list[Tensor]:
    parameters = list(case.parameters.values())
    gradient = torch.autograd.grad(loss, parameters, allow_unused=True)
    pairs = zip(parameters, gradient, strict=True)
    return [torch.zeros_like(p) if g is None else g for p, g in pairs]


def _wrong(name: str, found: float, expected: float) -> InputError:
    return InputError(
        f"the gradient of {name!r} is not that of the ELBO: {found:.4g} along one direction, where finite "
        f"differences give {expected:.4g}",
        subject=name,
        remedy="remove what detaches it (`.detach()`, `.data`, `no_grad`)",
    )


# --- differences along a direction ----------------------------------------------------------


def _direction(gradient: Tensor) -> Tensor:
    """Return a direction of length 1 between the gradient, which hides what it lacks, and a random one."""
    random = torch.randn_like(gradient)
    random = random / random.norm().clamp(min=1e-30)
    if (random * gradient).sum() < 0:  # or the two would cancel, in one dimension completely
        random = -random
    direction = random + gradient / gradient.norm().clamp(min=1e-30)
    return direction / direction.norm().clamp(min=1e-30)


def _step_size(parameter: Tensor) -> float:
    """Return a step for which the errors of rounding and of curvature are of the same size."""
    return float(torch.finfo(parameter.dtype).eps ** (1 / 3) * (1 + parameter.detach().norm()))


def _slopes(
    figures: Callable[[], Sequence[Tensor]], parameter: Tensor, direction: Tensor, step: float
) -> list[Tensor]:
    """Return the slopes of some figures along a direction, by central differences."""
    ends = []
    for sign in (1, -1):
        with _moved(parameter, sign * step * direction):
            ends.append(figures())
    return [(a - b) / (2 * step) for a, b in zip(*ends, strict=True)]


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


# --- smooth draws: the loss under the same noise --------------------------------------------


def _compare_at_same_noise(case: Case, found: Sequence[Tensor]) -> str:
    def loss() -> list[Tensor]:
        return [_loss(case).detach().double()]

    size = float(loss()[0].abs())
    for (name, parameter), gradient in zip(case.parameters.items(), found, strict=True):
        direction, step = _direction(gradient), _step_size(parameter)
        near, far = (float(_slopes(loss, parameter, direction, h)[0]) for h in (step, 2 * step))
        rounding = 20 * torch.finfo(parameter.dtype).eps * (1 + size) / step
        slope = float((gradient * direction).sum())
        error = 10 * abs(far - near) + rounding + RELATIVE * (abs(slope) + abs(near))
        if abs(slope - near) > error:
            raise _wrong(name, slope, near)
    return "equal to finite differences under the same noise"


# --- other draws: both sides in expectation -------------------------------------------------


def _compare_at_fixed_draws(case: Case) -> str:
    """Compare the mean of many gradients with differences at fixed draws.

    With z fixed, d ELBO = E[d f + (f - E f) d log q], f = log p(x, z) - log q(z | x): no draw needs a
    gradient.
    """
    if not case.bound_program.vectorized:
        raise NotApplicable("it takes one particle a call, and differences require many")
    affordable = MAX_MEMORY // bytes_per_particle(Importance(), case.bound_program)
    count = min(max(NUM_DRAWS[0], affordable), NUM_DRAWS[1])
    elbo = case.elbo_of(count // NUM_GRADIENTS)
    samples = [_gradient(case, case.loss(elbo)) for _ in range(NUM_GRADIENTS)]
    figures = _figures_at_fixed_draws(case, count)
    f = figures()[0]
    for i, (name, parameter) in enumerate(case.parameters.items()):
        gradient = [sample[i] for sample in samples]
        # chosen by other gradients: noise of the compared ones would favour its own direction
        direction = _direction(torch.stack(gradient[:NUM_POINTING]).mean(0))
        expected, curvature = _slopes_of_elbo(figures, f, parameter, direction)
        found = torch.stack([(g * direction).sum() for g in gradient[NUM_POINTING:]])
        error = float((expected.var() / len(expected) + found.var() / len(found)).sqrt())
        slope, wanted = float(found.mean()), float(expected.mean())
        allowed = SIGMAS * error + curvature + RELATIVE * (abs(slope) + abs(wanted))
        if abs(wanted - slope) > allowed:
            raise _wrong(name, slope, wanted)
    return f"equal to finite differences within {SIGMAS} standard errors"


def _slopes_of_elbo(
    figures: Callable[[], Sequence[Tensor]], f: Tensor, parameter: Tensor, direction: Tensor
) -> tuple[Tensor, float]:
    """Return the slopes of the loss at fixed draws, (K,), and the error that curvature makes in their mean.

    A code or a class may change within a step that suits a smooth loss, and rounding averages out here, so
    the step is shorter. The error of a step of h is a third of the difference to a step of 2 h.
    """

    def slopes(step: float) -> Tensor:
        f_slope, q_slope = _slopes(figures, parameter, direction, step)
        return -(f_slope + q_slope * (f - f.mean(0))).mean(1)

    step = _step_size(parameter) / SHORTER
    near, far = slopes(step), slopes(2 * step)
    return near, abs(float(far.mean() - near.mean()))


def _figures_at_fixed_draws(case: Case, count: int) -> Callable[[], Sequence[Tensor]]:
    """Return a function for the log-weights and the guide's log-probabilities, (K, units) each."""
    bound_program = case.bound_program
    with torch.no_grad():
        drawn = bound_program.guide(count)

    def figures() -> Sequence[Tensor]:
        with torch.no_grad():
            guide = bound_program.guide(count, lambda function: poutine.replay(function, drawn))
            all_ = read_particles(
                bound_program.joint(count, drawn), guide, bound_program.structure, count
            )
        return all_.log_weights, all_.log_guide

    return figures
