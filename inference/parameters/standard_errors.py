"""Standard errors of learnt parameters, AIC and BIC."""

from collections.abc import Mapping
from typing import Any

import torch

from pyro_vae import argument_checks as checks
from pyro_vae.errors import at_least_1, true_or_false
from pyro_vae.inference.compiling.precision import on_cuda
from pyro_vae.inference.evidence.method import Workload
from pyro_vae.inference.evidence.tiles import open_tiles
from pyro_vae.inference.parameters.estimates import ParameterEstimates
from pyro_vae.inference.parameters.learnt import candidates
from pyro_vae.inference.parameters.likelihood import Likelihood, examine_parameters, fitting_units
from pyro_vae.inference.parameters.log_likelihood import log_likelihood_of
from pyro_vae.inference.parameters.table import table_of
from pyro_vae.inference.posterior.summary import check_probability
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.progress import progress_bar

CHECKS: dict[str, checks.Check] = {
    "num_particles": at_least_1,
    "probability": check_probability,
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
    summed out, or is linear and Gaussian in them. It is as good as exact, by quadrature, where a unit has
    one or two latents and two rules agree. Elsewhere it is the mean weight of the guide's draws, which stay
    where they are as the parameters move: its derivatives are then estimates, whose Monte-Carlo
    error is in the result. Parameters of the guide alone are none of the model, and are left out.

    With a constraint (``pyro.param(..., constraint=)``, ``PyroParam``), everything is about the constrained
    value, by the delta method. So are further rows of a program with a method ``derived_parameters()``,
    which returns functions of the parameters by name, as difficulties b = d / a of items.

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
        return fitting_units(example, num_particles)

    opened = open_tiles(program, data, unit, seed, device, size, args, kwargs)
    with on_cuda("ieee"), opened as tiles, torch.enable_grad():
        work = Workload(num_particles, tuple(map(len, tiles.index)), compile="off")
        with torch.no_grad():
            log_likelihood = log_likelihood_of(tiles.example, work)
        found = candidates(tiles.example)
        parameters, dtype = examine_parameters(tiles.example, found, log_likelihood)
        count = sum(each.unconstrained.numel() for each in parameters)
        with progress_bar(len(tiles) * count, progress, "derivative", delay=1) as bar:
            likelihood = Likelihood(tiles, parameters, log_likelihood, dtype, bar)
            at, repeats = likelihood.everywhere()
        return table_of(likelihood, at, repeats, probability)
