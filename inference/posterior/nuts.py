"""Pyro's No-U-Turn sampler."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from pyro.infer import MCMC
from pyro.infer import NUTS as PyroNUTS
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.annealing.hmc import LinAlgError
from pyro_vae.inference.annealing.paths import FromPrior
from pyro_vae.inference.compiling.graph_cache import GraphedFunction
from pyro_vae.inference.compiling.inductor import SharedCode
from pyro_vae.inference.evidence.draws import Drawer, DrawsPosterior, WeightedDraws
from pyro_vae.inference.evidence.method import Advance, Workload
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.prior_guide import with_prior_as_guide
from pyro_vae.program.trace import as_raised

STEPS_WORTH_INDUCTOR = 1_000  # of all chains and tiles: each has some ten gradients or more
STARTS, START = 100, 2.0  # tries of a start, each coordinate uniform between -2 and 2, as Stan's


def _check_probability(name: str, value: Any) -> None:
    if not 0 < checks.number(name, value) < 1:
        raise InputError(f"{name} is {value}", subject=name, expected="a number between 0 and 1")


CHECKS: dict[str, checks.Check] = {
    "num_chains": at_least_1,
    "num_warmup": at_least_1,
    "target_accept": _check_probability,
    "max_tree_depth": at_least_1,
}


@dataclass(frozen=True)
class NUTS(DrawsPosterior):
    """Run several chains of Pyro's No-U-Turn sampler.

    They run one after another, in unconstrained coordinates, from starts uniform between -2 and 2. The
    density is the one that the evidence integrates: masks count, scales do not, and latents that the model
    marks for enumeration are summed out. The guide is not used, so the model alone is enough:
    ``posterior(model, data, method=NUTS())``. The units of a tile move together.

    Args:
        num_chains: the chains that share the draws; several show whether they agree (R-hat).
        num_warmup: steps of each chain that adapt step size and masses, and are thrown away.
        target_accept: the acceptance that the step size is adapted to; nearer to 1 where steps diverge.
        max_tree_depth: a step has at most 2^depth gradients.

    Raises:
        InputError: an option does not fit. Later: a latent is discrete and not summed out; its prior is
            flat or masked; the number of draws is not a multiple of the chains; no start has a finite
            density.

    Source: M. D. Hoffman, A. Gelman, "The No-U-Turn sampler", 2014, https://arxiv.org/abs/1111.4246.

    >>> import pyro, pyro.distributions as dist
    >>> from pyro_vae import posterior
    >>> def model(x):
    ...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    ...     with pyro.plate("data", len(x)):
    ...         pyro.sample("x", dist.Normal(mean, 1.0), obs=x)
    >>> method = NUTS(num_chains=2, num_warmup=50)
    >>> posterior(model, torch.ones(9), method=method, num_draws=100, seed=0).draws["mean"].shape
    torch.Size([100])
    """

    num_chains: int = 4
    num_warmup: int = 500
    target_accept: float = 0.8
    max_tree_depth: int = 10

    is_weighted = False
    is_independent = False

    def __post_init__(self) -> None:
        checks.check_arguments(CHECKS, vars(self))

    @property
    def description(self) -> str:
        return f"NUTS, {self.num_chains} chains after {self.num_warmup:,} steps of warm-up each"

    def program(self, program: Any) -> Any:
        """Return the model with its prior as the guide: the guide is not used."""
        return with_prior_as_guide(program)

    def drawer(self, example: BoundProgram, work: Workload) -> Drawer:
        if work.num_particles % self.num_chains:
            raise InputError(
                f"{work.num_particles:,} draws do not come in {self.num_chains} chains of one length",
                subject="num_draws",
                expected=f"a multiple of {self.num_chains}",
            )
        FromPrior(example)
        steps = (self.num_chains * self.num_warmup + work.num_particles) * len(work.tile_sizes)
        compiler = SharedCode() if work.compiles(steps >= STEPS_WORTH_INDUCTOR) else None

        def draw(bound_program: BoundProgram, advance: Advance) -> WeightedDraws:
            path = FromPrior(bound_program)
            density = _Density(path, compiler)
            chains, divergences = [], 0
            for _ in range(self.num_chains):
                u, diverged = self._chain(density, work.num_particles // self.num_chains)
                chains.append(u)
                divergences += diverged
                advance(1 / self.num_chains)
            log_weights = torch.zeros(
                work.num_particles, bound_program.structure.num_units, device=bound_program.device
            )
            latents = path.latents(torch.cat(chains), work.num_particles)
            return WeightedDraws(latents, log_weights, _divergence_note(divergences))

        return draw

    def _chain(self, density: "_Density", length: int) -> tuple[Tensor, int]:
        """Return the coordinates (draws, U, D) of a chain, and how many of its steps diverged."""
        kernel = PyroNUTS(
            potential_fn=density.potential,
            target_accept_prob=self.target_accept,
            max_tree_depth=self.max_tree_depth,
        )
        sampler = MCMC(
            kernel,
            length,
            self.num_warmup,
            initial_params={"u": density.start()},
            disable_progbar=True,
        )
        with torch.enable_grad():
            sampler.run()
        free = sampler.get_samples()["u"].detach()
        # not by `diagnostics()`, which computes R-hat, and fails with fewer than four draws
        of_chain: Any = sampler._diagnostics[0]
        return density.coordinates(free), len(of_chain["divergences"])


class _Density:
    """The posterior's log-density, up to a constant, of the coordinates that no mask takes out."""

    def __init__(self, path: FromPrior, compiler: SharedCode | None) -> None:
        self.path, self.free = path, path.coordinates.free  # (U, D)
        self.base = path.draw(1)[0]
        self.evaluate = GraphedFunction(self._density_and_gradient, compiler)

    def coordinates(self, free: Tensor) -> Tensor:
        """Return the coordinates (K, U, D) that have these free ones, (K, free)."""
        u = self.base.expand(len(free), *self.base.shape).clone()
        u[:, self.free] = free.to(u)
        return u

    def _density_and_gradient(self, u: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            leaf = u.detach().requires_grad_()
            _, log_density = self.path.log_densities(leaf)
            (gradient,) = torch.autograd.grad(log_density.sum(), leaf)
        return log_density.detach(), gradient

    def at(self, u: Tensor) -> tuple[Tensor, ...]:
        """Return log-density and gradient; minus infinity where a matrix of the model cannot be factorised.

        It can where the posterior lies: a step from far away is rejected, as by Stan.
        """
        try:
            return self.evaluate(u)
        except Exception as error:  # of the model in Python, or of its graph
            if not isinstance(as_raised(error), LinAlgError):
                raise
            return u.new_full(u.shape[:2], -math.inf), torch.zeros_like(u)

    def potential(self, parameters: dict[str, Tensor]) -> Tensor:
        return _Potential.apply(parameters["u"], self)

    def start(self) -> Tensor:
        """Return a place with a finite density.

        Raises:
            InputError: there is none among a hundred.
        """
        for _ in range(STARTS):
            u = (2 * torch.rand_like(self.base[self.free]) - 1) * START
            end, gradient = self.at(self.coordinates(u[None]))
            if bool(end.isfinite().all() and gradient.isfinite().all()):
                return u
        raise InputError(
            f"none of {STARTS} places to start from has a finite density",
            subject="method",
            remedy="bring the priors closer to the data, or draw by Importance() or Annealed()",
        )


class _Potential(torch.autograd.Function):
    """Minus the log-density, with the gradient that the density has computed."""

    @staticmethod
    def forward(ctx: Any, free: Tensor, density: _Density) -> Tensor:
        end, gradient = density.at(density.coordinates(free[None]))
        ctx.save_for_backward(gradient[0][density.free].to(free))
        return -end.sum().to(free)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return -gradients[0] * gradient, None


def _divergence_note(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    steps = "1 step" if count == 1 else f"{count:,} steps"
    return (
        f"{steps} of NUTS diverged: the draws may miss a part of the posterior; a target_accept "
        "nearer to 1 or another parameterisation helps",
    )
