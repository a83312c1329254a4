"""Importance sampling where its weights can be trusted, annealing where they cannot."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1, positive
from pyro_vae.inference.evidence.ais import Annealed
from pyro_vae.inference.evidence.importance import Importance
from pyro_vae.inference.evidence.method import (
    Advance,
    Estimator,
    Method,
    UnitEstimates,
    Workload,
    last,
)
from pyro_vae.inference.evidence.smc import SMC
from pyro_vae.inference.evidence.trial import joint_estimator, notes_of_choice
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.contract import held_program
from pyro_vae.program.prior_guide import with_prior_as_guide

REPLACED = ("log_evidence", "standard_error", "ess", "pareto_k", "acceptance")
IMPORTANCE_SHARE = 0.2  # of the work on a tile, on the progress bar
CHECKS: dict[str, checks.Check] = {
    "importance": checks.instance(Importance, "a method of importance sampling, Importance(...)"),
    "annealed": checks.instance(Annealed, "a method of annealing, Annealed(...)"),
    "num_chains": at_least_1,
    "smc": checks.instance(SMC, "a method of sequential Monte Carlo, SMC(...)"),
    "smc_particles": at_least_1,
    "seconds": checks.optional(positive),
    "draws": checks.optional(checks.instance(Mapping, "draws by site")),
    "num_chains_of_draws": at_least_1,
}


@dataclass(frozen=True)
class Auto(Method):
    """Use importance sampling; anneal units with untrusted weights.

    Where more than half of the units of a tile have such weights, all of them are annealed: an error is an
    estimate itself, and some units pass whose weights are as bad as the others'. Where annealing does not
    suit the program, importance sampling is all, and a note names the bad units.

    A joint evidence, of all data together, is tried in turn by a bridge where ``draws`` of the posterior
    are given, by importance sampling, and by SMC from the prior or else the guide; the first whose
    standard error is at most 0.05 nats, with light-tailed weights, is the estimate. SMC then takes as
    many particles as its error asks for. With ``seconds``, the clock sets that number, and stops
    SMC or a bridge that takes longer. Where the guide holds one order of exchangeable labels, importance
    sampling mixes it over all of them. A note names the method that was chosen and its count, which give
    the same figure again. A model alone is enough: its prior is then the guide.

    The weights themselves decide which units are annealed, so the estimate is not unbiased and there is no
    certificate.

    Args:
        importance: how the units are weighed.
        annealed: how the bad units are annealed.
        num_chains: chains for each unit that is annealed.
        smc: how the particles of a joint evidence move.
        smc_particles: of their trial.
        seconds: how long a joint evidence may take, about; by default as long as an error of 0.05 nats
            takes.
        draws: of the posterior, as ``Bridge`` takes them.
        num_chains_of_draws: how many chains follow one another in them.
    """

    importance: Importance = field(default_factory=Importance)
    annealed: Annealed = field(default_factory=Annealed)
    num_chains: int = Annealed.num_particles
    smc: SMC = field(default_factory=SMC)
    smc_particles: int = 1000
    seconds: float | None = None
    draws: Mapping[str, Tensor] | None = field(default=None, repr=False)
    num_chains_of_draws: int = 1

    num_particles = Importance.num_particles
    is_unbiased = False

    def __post_init__(self) -> None:
        checks.check_arguments(CHECKS, vars(self))

    @property
    def description(self) -> str:
        return (
            f"{self.importance.description}; where its weights are bad, {self.annealed.description}, or, "
            "of a joint evidence, sequential Monte Carlo"
        )

    def program(self, program: Any) -> Any:
        """Return a model alone with its prior as the guide, and anything else as it is."""
        program = held_program(program)
        is_program = isinstance(program, tuple) or hasattr(program, "guide")
        return program if is_program else with_prior_as_guide(program)

    def estimator(self, example: BoundProgram, work: Workload) -> Estimator:
        if example.structure.unit is None:
            return joint_estimator(self, example, work)
        weigh = self.importance.estimator(example, work)
        anneal: Estimator | None = None
        with contextlib.suppress(InputError):  # a note gives the reason, where units are bad
            # not compiled: each tile has another number of bad units, and would need code of its own
            chains = replace(work, num_particles=self.num_chains, compile="off")
            anneal = self.annealed.estimator(example, chains)

        def estimate(bound_program: BoundProgram, advance: Advance) -> Iterator[AutoEstimate]:
            sums = last(weigh(bound_program, lambda share: advance(IMPORTANCE_SHARE * share)))
            weighed = sums.unit_estimates()
            bad = _bad_units(weighed)
            if anneal is None or not len(bad):
                advance(1 - IMPORTANCE_SHARE)
                yield AutoEstimate(work.num_particles, weighed, bad[:0], None)
                return
            part = bound_program.some(bad)
            chains = last(anneal(part, lambda share: advance((1 - IMPORTANCE_SHARE) * share)))
            annealed = chains.unit_estimates()
            yield AutoEstimate(
                work.num_particles,
                weighed,
                bad,
                annealed.select(bad) if part is bound_program else annealed,
            )

        return estimate

    def notes(self, estimates: UnitEstimates, example: BoundProgram) -> tuple[str, ...]:
        assert estimates.is_annealed is not None
        if example.structure.unit is None:
            return notes_of_choice(self, estimates, example)
        num_annealed, units = int(estimates.is_annealed.sum()), estimates.num_units
        if num_annealed:
            return (
                f"{num_annealed:,} of {units:,} units were annealed, with {self.num_chains} chains each: a "
                "few importance weights decided their figures, or those of most units in their tile; the "
                "bounds over K are those of importance sampling",
                *self.annealed.notes(estimates, example),
            )
        num_bad = int(estimates.without_error.sum())
        return (self._not_annealed(num_bad, units, example),) if num_bad else ()

    def _not_annealed(self, num_bad: int, units: int, example: BoundProgram) -> str:
        text = (
            f"{num_bad:,} of {units:,} units have bad importance weights and could not be annealed"
        )
        try:
            self.annealed.estimator(example, Workload(self.num_chains, ()))
        except InputError as error:
            text += f": {error}"
        return text


def _bad_units(estimates: UnitEstimates) -> Tensor:
    """Return the numbers of the units without an error; of all units where most have none."""
    is_bad = estimates.without_error
    if 2 * is_bad.sum() > len(is_bad):
        is_bad = torch.ones_like(is_bad)
    return is_bad.nonzero().squeeze(-1)


@dataclass(frozen=True)
class AutoEstimate:
    """Hold the estimates of importance sampling, and those of annealing for the units ``bad``."""

    count: int
    weighed: UnitEstimates
    bad: Tensor
    annealed: UnitEstimates | None

    def unit_estimates(self) -> UnitEstimates:
        log_evidence = self.weighed.log_evidence
        is_annealed = torch.zeros_like(log_evidence, dtype=torch.bool).index_fill(0, self.bad, True)
        merged = replace(
            self.weighed,
            smoothed=None,  # these two would still be of importance sampling alone
            jackknife=None,
            is_annealed=is_annealed,
            acceptance=torch.full_like(log_evidence, math.nan),
        )
        if self.annealed is None:
            return merged
        replaced = {
            name: getattr(merged, name).index_copy(0, self.bad, getattr(self.annealed, name))
            for name in REPLACED
        }
        return replace(merged, **replaced)
