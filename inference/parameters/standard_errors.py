"""Standard errors of learnt parameters, AIC and BIC."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from pyro_vae import argument_checks as checks
from pyro_vae.allocations import Allocations
from pyro_vae.errors import InputError, at_least_1, must_be, true_or_false
from pyro_vae.inference.compiling.precision import on_cuda
from pyro_vae.inference.evidence.method import Workload
from pyro_vae.inference.evidence.tiles import Tiles, open_tiles
from pyro_vae.inference.parameters.derivatives import Derivatives, differentiate
from pyro_vae.inference.parameters.estimates import ParameterEstimates, normal_quantile
from pyro_vae.inference.parameters.information import Covariance, covariance_of
from pyro_vae.inference.parameters.learnt import Learnt, candidates, of_model
from pyro_vae.inference.parameters.log_likelihood import LogLikelihood, log_likelihood_of
from pyro_vae.inference.parameters.maximum import maximize, newton_step
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.float64 import in_float64
from pyro_vae.progress import progress_bar

MAX_BYTES, MOST_UNITS = 2**25, 512  # of a tile: one run with all draws, without its graph
LATE = 0.05  # nats that a maximum may still be away without a note


def _check_probability(name: str, value: Any) -> None:
    if not 0 < checks.number(name, value) < 1:
        raise must_be(name, "a number between 0 and 1", value)


CHECKS: dict[str, checks.Check] = {
    "num_particles": at_least_1,
    "probability": _check_probability,
    "unit": checks.optional(checks.plate),
    "seed": checks.optional(checks.seed),
    "progress": checks.optional(true_or_false),
}


def standard_errors(
    program: Any,
    data: Any = None,
    *,
    num_particles: int = 1000,
    probability: float = 0.95,
    unit: str | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
    progress: bool | None = None,
    args: tuple[Any, ...] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> ParameterEstimates:
    """Return the standard errors of a model's parameters, its AIC and its BIC.

    A fitted parameter (``nn.Parameter``, ``pyro.param``) is held at one value, which maximises the
    likelihood log p(x) = sum_u l_u of U units, in which the latents are integrated out. Where it is exact,
    the table is of the maximum itself, which Newton's method finds from the fitted parameters (the program
    keeps these): a fit ends close to it, with the noise of its last steps. With gradients s_u
    and minus the Hessian, the observed information J, the covariance of the estimates is J^-1; the
    sandwich J^-1 (sum_u s_u s_u') J^-1 holds where the model is not the truth, too, and needs many units.

    The likelihood is exact where the program has an own ``log_evidence``, no latents, only latents that are
    summed out, or is linear and Gaussian in them. Elsewhere it is the mean weight of the guide's draws,
    which stay where they are as the parameters move: its derivatives are then estimates, whose Monte-Carlo
    error is in the result. Parameters of the guide alone are none of the model, and are left out.

    With a constraint (``pyro.param(..., constraint=)``, ``PyroParam``), everything is about the constrained
    value, by the delta method.

    Args:
        program: a fitted model and guide.
        data: as :func:`pyro_vae.log_evidence` takes them.
        num_particles: draws of each unit, where the likelihood is estimated (four times).
        probability: of the intervals.
        unit: the plate of independent units; by default the outermost that holds every site. Without one
            there is no sandwich and no BIC.
        seed: of the draws; by default they continue from torch's generator.
        device: where to compute.
        progress: whether to draw a bar; by default in terminals and notebooks.
        args: with ``kwargs``, the arguments of one call, in place of data.
        kwargs: its named arguments.

    Raises:
        InputError: there are no parameters or more than 2,000, the information is singular (with the
            parameters), the parameters are not at a maximum, or a few weights decide the estimate.

    Source: B. Efron, D. V. Hinkley, "Assessing the accuracy of the maximum likelihood estimator: observed
    versus expected Fisher information", 1978, https://doi.org/10.1093/biomet/65.3.457; H. White, "Maximum
    likelihood estimation of misspecified models", 1982, https://doi.org/10.2307/1912526; of the
    derivatives of an estimate: T. A. Louis, "Finding the observed information matrix when using the EM
    algorithm", 1982, https://doi.org/10.1111/j.2517-6161.1982.tb01203.x.

    >>> import pyro, pyro.distributions as dist
    >>> from torch import nn
    >>> class Normal(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.mean = nn.Parameter(torch.tensor(2.0))
    ...     def model(self, x):
    ...         with pyro.plate("rows", len(x)):
    ...             pyro.sample("x", dist.Normal(self.mean, 3.0), obs=x)
    ...     def guide(self, x):
    ...         pass
    >>> x = torch.tensor([1.0, 2.0, 3.0, 2.0])
    >>> print(f"{standard_errors(Normal(), x).standard_error.item():.2f}")  # 3 / sqrt(4)
    1.50
    """
    checks.check_arguments(CHECKS, locals())

    def size(example: BoundProgram) -> int:
        return _fitting_units(example, num_particles)

    opened = open_tiles(program, data, unit, seed, device, size, args, kwargs)
    with on_cuda("ieee"), opened as tiles, torch.enable_grad():
        work = Workload(num_particles, tuple(map(len, tiles.index)), compile="off")
        with torch.no_grad():
            log_likelihood = log_likelihood_of(tiles.example, work)
        found = candidates(tiles.example)
        parameters, dtype = _examine(tiles.example, found, log_likelihood)
        count = sum(each.unconstrained.numel() for each in parameters)
        with progress_bar(len(tiles) * count, progress, "derivative", delay=1) as bar:
            likelihood = _Likelihood(tiles, parameters, log_likelihood, dtype, bar)
            at, repeats = likelihood.everywhere()
        return _result(likelihood, at, repeats, probability)


def _fitting_units(example: BoundProgram, num_particles: int) -> int:
    single = example.single()
    with Allocations() as allocations:
        single.joint(1, single.guide(1))
    bytes_of_one = max(1.0, allocations.bytes / example.structure.num_units)
    return min(MOST_UNITS, max(1, int(MAX_BYTES / bytes_of_one / num_particles)))


@dataclass(frozen=True)
class _Likelihood:
    """Differentiate the log-likelihood of all tiles, in one precision."""

    tiles: Tiles
    parameters: Sequence[Learnt]
    log_likelihood: LogLikelihood
    dtype: torch.dtype
    bar: tqdm

    def __call__(self, values: Sequence[Tensor], repeat: int = 0) -> Derivatives:
        """Return the derivatives at values of the unconstrained parameters; a repeat has other draws."""
        self.bar.reset()
        leaves = [each.unconstrained for each in self.parameters]
        parts = []
        for tile in self.tiles:
            torch.rand(repeat)  # a tile starts its generator anew
            with _in(self.dtype, tile) as call, _holding(leaves, values):
                log_likelihoods = self.log_likelihood.evaluate(call)
                parts.append(differentiate(log_likelihoods, leaves, lambda: self.bar.update(1)))
        return Derivatives.joined(parts)

    def everywhere(self) -> tuple[list[Tensor], list[Derivatives]]:
        """Return the parameters, of an exact likelihood at its maximum, and each repeat's derivatives."""
        start = [each.unconstrained.detach().clone() for each in self.parameters]
        if self.log_likelihood.is_exact:
            at, found = maximize(self, start)
            return at, [found]
        return start, [self(start, repeat) for repeat in range(self.log_likelihood.repeats)]


@contextmanager
def _in(dtype: torch.dtype, bound_program: BoundProgram) -> Iterator[BoundProgram]:
    if dtype != torch.float64:
        yield bound_program
        return
    with in_float64(bound_program) as wide:
        yield wide


@contextmanager
def _holding(leaves: Sequence[Tensor], values: Sequence[Tensor]) -> Iterator[None]:
    """Give parameters other values, and then their own again."""
    before = [leaf.data for leaf in leaves]
    try:
        for leaf, value in zip(leaves, values, strict=True):
            leaf.data = value.to(leaf.data)
        yield
    finally:
        for leaf, data in zip(leaves, before, strict=True):
            leaf.data = data


def _examine(
    example: BoundProgram, found: Mapping[str, Learnt], likelihood: LogLikelihood
) -> tuple[list[Learnt], torch.dtype]:
    """Return the model's parameters, and the precision in which the program can be differentiated."""
    try:
        with in_float64(example) as wide:
            value = likelihood.evaluate(wide)
            if value.dtype == torch.float64:
                return of_model(found, value), torch.float64
    except (RuntimeError, ValueError, TypeError):
        pass  # its own precision shows what is wrong, if anything is
    return of_model(found, likelihood.evaluate(example)), torch.float32


def _result(
    likelihood: _Likelihood,
    at: Sequence[Tensor],
    repeats: Sequence[Derivatives],
    probability: float,
) -> ParameterEstimates:
    fitted, dtype, tiles = likelihood.parameters, likelihood.dtype, likelihood.tiles
    parameters = [replace(p, unconstrained=value) for p, value in zip(fitted, at, strict=True)]
    scores = torch.stack([each.scores for each in repeats]).mean(0)
    information = -torch.stack([each.hessian for each in repeats]).mean(0)
    if not (information.isfinite().all() and scores.isfinite().all()):
        raise InputError(
            "a derivative of the log-likelihood is not finite",
            subject=parameters[0].name,
            remedy="look for a parameter at the edge of its range",
        )
    inverse = covariance_of(information, parameters, dtype)
    jacobian = torch.block_diag(*(each.jacobian() for each in parameters))
    covariance = jacobian @ inverse.matrix @ jacobian.T
    error = _errors(covariance)
    totals = torch.stack([each.values.sum() for each in repeats])
    spread = [_spread_errors(-each.hessian, parameters, dtype, jacobian) for each in repeats]
    estimate = torch.cat([each.value().reshape(-1) for each in parameters])
    num_units = len(scores)
    return ParameterEstimates(
        tuple(label for each in parameters for label in each.labels),
        estimate,
        error,
        _robust(scores, inverse, jacobian),
        _intervals(parameters, estimate, error, inverse.matrix, normal_quantile(probability)),
        covariance,
        _monte_carlo(torch.stack(spread)),
        probability,
        float(totals.mean()),
        float(_monte_carlo(totals)),
        inverse.rank,
        num_units,
        tiles.example.structure.unit if num_units > 1 else None,
        likelihood.log_likelihood.description,
        (
            *_distance(scores.sum(0), information, fitted, at),
            *_limits(num_units, dtype),
            *tiles.notes,
        ),
    )


def _errors(covariance: Tensor) -> Tensor:
    return covariance.diagonal().clamp(min=0).sqrt()


def _robust(scores: Tensor, inverse: Covariance, jacobian: Tensor) -> Tensor:
    """Return the sandwich's standard errors; NaN where the units are no more than the parameters."""
    if len(scores) <= inverse.rank:
        return torch.full((len(jacobian),), math.nan, dtype=torch.float64)
    half = jacobian @ inverse.matrix @ scores.T
    return half.square().sum(-1).sqrt()


def _spread_errors(
    information: Tensor, parameters: Sequence[Learnt], dtype: torch.dtype, jacobian: Tensor
) -> Tensor:
    try:
        matrix = covariance_of(information, parameters, dtype).matrix
    except InputError:  # by the noise of one repeat
        return torch.full((len(jacobian),), math.nan, dtype=torch.float64)
    return _errors(jacobian @ matrix @ jacobian.T)


def _monte_carlo(repeats: Tensor) -> Tensor:
    """Return the standard error of the mean of repeats; 0 of an exact figure."""
    if len(repeats) == 1:
        return torch.zeros_like(repeats[0])
    return repeats.std(0) / math.sqrt(len(repeats))


def _intervals(
    parameters: Sequence[Learnt], estimate: Tensor, error: Tensor, inverse: Tensor, z: float
) -> Tensor:
    """Return estimates +- z errors; of single numbers with a constraint, mapped from the free scale."""
    intervals = torch.stack([estimate - z * error, estimate + z * error], -1)
    free_errors = _errors(inverse)
    at, free_at = 0, 0
    for each in parameters:
        count, free = each.value().numel(), each.unconstrained.numel()
        if each.is_elementwise:
            half = z * free_errors[free_at : free_at + free].reshape(each.unconstrained.shape)
            middle = each.unconstrained.detach().double()
            ends = [each.value(middle - half), each.value(middle + half)]
            intervals[at : at + count] = torch.stack([end.reshape(-1) for end in ends], -1).sort(
                -1
            )[0]
        at, free_at = at + count, free_at + free
    return intervals


def _distance(
    gradient: Tensor, information: Tensor, fitted: Sequence[Learnt], at: Sequence[Tensor]
) -> Iterator[str]:
    """Say how far the fitted parameters are from the maximum, if it matters."""
    moved = torch.cat(
        [
            (value - each.unconstrained.detach()).reshape(-1)
            for value, each in zip(at, fitted, strict=True)
        ]
    )
    if float(moved @ information @ moved) / 2 > LATE:
        yield (
            "the fitted parameters are not at the maximum: it is "
            f"{float(moved @ information @ moved) / 2:.2g} nats above them. The table is of the maximum; "
            "the program keeps what was fitted"
        )
    gain = float(gradient @ newton_step(-information, gradient)) / 2
    if gain > LATE:
        yield (
            f"the parameters are about {gain:.2g} nats below the maximum: fit longer, with a learning "
            "rate that falls to 0"
        )


def _limits(num_units: int, dtype: torch.dtype) -> Iterator[str]:
    if num_units < 2:
        yield (
            "the log-likelihood is of all data together: a sandwich and a BIC need independent units"
        )
    if dtype != torch.float64:
        yield "derivatives were computed in float32, since the program does not run in float64"
