"""Annealed importance sampling: the evidence, from chains that walk from the guide to the posterior."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

from pyro_vae.errors import InputError, at_least_1, nearest
from pyro_vae.inference.annealing.hmc import Sampler, Steps, pilot
from pyro_vae.inference.annealing.paths import FromGuide, FromPrior, Path
from pyro_vae.inference.annealing.schedules import Schedule, checked, sigmoid
from pyro_vae.inference.evidence.chains import Walks, bytes_per_chain, walk
from pyro_vae.inference.evidence.method import Estimator, Figures, Method, Tick, memory
from pyro_vae.inference.evidence.tiles import UNITS
from pyro_vae.program.bound_program import BoundProgram

STARTS: dict[str, Callable[[BoundProgram], Path]] = {"guide": FromGuide, "prior": FromPrior}
MAX_MEMORY = {"cpu": 2**28, "cuda": 2**32}  # for the gradients' graph
ROWS = {"cpu": 2**14, "cuda": 2**17}  # chains x units that move together
KNOTS = 20  # places of the path at which step sizes are adapted
STUCK = 0.1  # acceptance below which chains count as not moving


@dataclass(frozen=True)
class Annealed(Method):
    """Annealed importance sampling with Hamiltonian Monte Carlo transitions.

    K chains for each unit set out from q, the guide or the prior, and walk along the geometric path
    p_b(z) ∝ q(z)^(1 - b) p(x, z)^b: one HMC transition in unconstrained coordinates at each of the
    inverse temperatures 0 = b_0 < b_1 < ... < b_T = 1 but the first and last. Then

        log p(x) ~ log (1/K) sum_k w_k,
        log w = sum_t (b_t - b_(t-1)) (log p(x, z_(t-1)) - log q(z_(t-1))).

    The mean weight is unbiased for p(x) whatever the step sizes, which are adapted for each unit in a
    pilot run and then stay as they are; the mean of its log is a lower bound. With T = 1 this is
    importance sampling. Latents that only the model has and marks for enumeration are summed out; all
    others must be continuous. Memory does not grow with K or T.

    Source: R. M. Neal, "Annealed importance sampling", 2001, https://doi.org/10.1023/A:1008923215028;
    of decoders, and from an encoder: Y. Wu, Y. Burda, R. Salakhutdinov, R. Grosse, "On the quantitative
    analysis of decoder-based generative models", 2017, https://arxiv.org/abs/1611.04273.

    Args:
        num_temperatures: T.
        start: "guide" or "prior", where the chains set out.
        schedule: T -> the T + 1 inverse temperatures.
        num_leapfrog: gradients of the log-density that a transition takes.

    :raises InputError: the schedule does not rise from 0 to 1. Later: a latent is discrete and not
        summed out; the guide's support is not the prior's.

    >>> from pyro_vae import log_evidence
    >>> from pyro_vae.models import FactorAnalysis
    >>> x, model = torch.randn(4, 3), FactorAnalysis((3,), 1)
    >>> evidence = log_evidence(model, x, method=Annealed(num_temperatures=20), seed=0)
    >>> off = (evidence.log_evidence - model.log_evidence(x)).abs() / evidence.standard_error
    >>> bool((off < 5).all())
    True
    """

    num_temperatures: int = 100
    start: str = "guide"
    schedule: Schedule = sigmoid
    num_leapfrog: int = 10

    num_particles = 16
    tile = UNITS

    def __post_init__(self) -> None:
        for name in ("num_temperatures", "num_leapfrog"):
            at_least_1(name, getattr(self, name))
        if self.start not in STARTS:
            raise InputError(
                f"start must be {' or '.join(map(repr, STARTS))}, not {self.start!r}"
                f"{nearest(self.start, STARTS)}"
            )
        assert self.betas

    @cached_property
    def betas(self) -> tuple[float, ...]:
        """The inverse temperatures."""
        return checked(self.schedule, self.num_temperatures)

    @property
    def described(self) -> str:
        if self.num_temperatures == 1:
            return f"importance sampling from the {self.start} (one temperature)"
        return (
            f"annealed importance sampling from the {self.start}, {self.num_temperatures:,} "
            f"temperatures, {self.num_leapfrog} leapfrog steps each"
        )

    def estimator(
        self, example: BoundProgram, num_particles: int, max_memory: int | None
    ) -> Estimator:
        self.sampler(example, max_memory)

        def estimate(call: BoundProgram, tick: Tick) -> Iterator[Walks]:
            sampler = self.sampler(call, max_memory)
            yield from self.forward(sampler, self.steps(sampler), num_particles, tick)

        return estimate

    def notes(self, figures: Figures, example: BoundProgram) -> tuple[str, ...]:
        stuck = figures["acceptance"] < STUCK
        if not stuck.any():
            return ()
        return (
            f"the chains of {int(stuck.sum()):,} of {len(stuck):,} units hardly moved (fewer than "
            f"{STUCK:.0%} of their steps were accepted; the first is unit {int(stuck.nonzero()[0])}): "
            "what they say is hardly better than importance sampling",
        )

    # --- one tile's chains, also for the bounds of both sides -----------------------------------

    def sampler(self, call: BoundProgram, max_memory: int | None) -> Sampler:
        """What moves the chains of one tile, and how many at a time."""
        path = STARTS[self.start](call)
        path.check()
        budget = memory(max_memory, call.device, MAX_MEMORY)
        return Sampler(path, self.num_leapfrog, max(1, budget // bytes_per_chain(path)))

    def steps(self, sampler: Sampler) -> Steps | None:
        """Step sizes from a pilot run past at most 20 places; None where nothing will move."""
        if self.num_temperatures == 1 or not sampler.path.coordinates.size:
            return None
        every = math.ceil(self.num_temperatures / KNOTS)
        return pilot(sampler, self.betas[:0:-every][::-1])

    def forward(
        self, sampler: Sampler, steps: Steps | None, num_particles: int, tick: Tick
    ) -> Iterator[Walks]:
        """K chains from the start to the posterior, as many together as move well."""
        walks = Walks(num_particles, sampler.path.call)
        for count in counts(sampler.path.call, num_particles):
            u = sampler.path.draw(count)
            share = count / num_particles / self.num_temperatures
            walks.add(walk(sampler, u, self.betas, steps, partial(tick, share)))
            yield walks


def counts(call: BoundProgram, num_particles: int) -> Iterator[int]:
    """Numbers of chains to move together, that make K."""
    at_once = max(1, ROWS.get(call.device.type, ROWS["cpu"]) // call.structure.num_units)
    for first in range(0, num_particles, at_once):
        yield min(at_once, num_particles - first)
