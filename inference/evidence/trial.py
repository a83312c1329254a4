"""The choice of a method for a joint evidence, by what a short trial of each shows."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.bridge import Bridge
from pyro_vae.inference.evidence.method import (
    Advance,
    Estimator,
    Method,
    UnitEstimates,
    Workload,
    last,
)
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.generators import rng_state, set_rng_state

if TYPE_CHECKING:
    from pyro_vae.inference.evidence.auto import Auto

TARGET = 0.05  # nats: a standard error that is small enough
SAFE_K = 0.5  # Pareto k up to which importance weights have a variance
MOST = 50_000  # particles of SMC
MARGIN = 1.3  # times as many particles as the error asks for, which is an estimate itself
RESERVE = 0.8  # share of the time left that is planned for
RERUNS = 3  # of SMC, with more particles each time
LEAST_SLOPE = 0.25  # seconds of a further particle, at least, over the mean of those that ran
LEAST_PER_ISLAND = 25  # particles of the first run of SMC, where the time is limited
LIGHT = "the importance weights are light-tailed and their error is at most 0.05 nats"
NOT_GOOD = "the importance weights were not good enough"
Clock = Callable[[], float]


@dataclass(frozen=True)
class Candidate:
    """Hold a method that is tried, and all that the trial knows of it.

    Attributes:
        name: for the note.
        method: with its options.
        num_particles: of the first run.
        reason: why it is chosen, where its error is small enough.
        call: makes the method again; by default its own words.
        weighs: whether it is importance sampling, whose tail counts and whose time is short.
        grows: whether it ends the trial, and runs again with as many particles as its error asks for.
    """

    name: str
    method: Method
    num_particles: int
    reason: str
    call: str = ""
    weighs: bool = False
    grows: bool = False


def candidates(auto: "Auto", example: BoundProgram, num_particles: int) -> Iterator[Candidate]:
    """Yield what is tried, in its order."""
    if auto.draws is not None:
        bridge = _bridge(auto.draws, auto.num_chains_of_draws, example)
        yield Candidate(
            "bridge",
            bridge,
            max(num_particles, Bridge.num_particles),
            "draws were given and their bridge has the smallest error",
            f"Bridge(draws, num_chains={bridge.num_chains}, symmetrize={bridge.symmetrize})",
        )
    if auto.importance.missed(example, num_particles) is not None:
        symmetrized = replace(auto.importance, symmetrize=True)
        name = "importance in all symmetric copies"
        yield Candidate(name, symmetrized, num_particles, LIGHT, weighs=True)
    else:
        yield Candidate("importance", auto.importance, num_particles, LIGHT, weighs=True)
    few = auto.smc_particles
    if auto.seconds is not None:
        few = min(few, LEAST_PER_ISLAND * auto.smc.num_islands)
    # the prior first: it reaches what a narrow guide misses
    for start, also in (("prior", ""), ("guide", ", and the prior is not a start")):
        method = replace(auto.smc, start=start)
        yield Candidate(f"smc from the {start}", method, few, NOT_GOOD + also, grows=True)


def _bridge(draws: Mapping[str, Tensor], num_chains: int, example: BoundProgram) -> Bridge:
    """Return the bridge, in all symmetric copies where the draws hold a part of them."""
    bridge = Bridge(draws, num_chains)
    with contextlib.suppress(InputError):  # it does not suit the program, as its trial will show
        bridge = replace(bridge, symmetrize=bridge.missed(example, 0) is not None)
    return bridge


@dataclass(frozen=True)
class Tried:
    """Hold what one candidate gave, with how many particles, and how long it took."""

    candidate: Candidate
    num_particles: int
    estimates: UnitEstimates
    seconds: float

    @property
    def error(self) -> float:
        """The largest standard error; infinite where there is none."""
        return float(self.estimates.standard_error.nan_to_num(math.inf).max())

    @property
    def is_enough(self) -> bool:
        """Whether the error is small, and the weights leave no doubt about it."""
        heavy = self.candidate.weighs and bool((self.estimates.pareto_k > SAFE_K).any())
        return self.error <= TARGET and not heavy


class _OutOfTime(Exception):
    """End a run whose time is over."""


def joint_estimator(
    auto: "Auto", example: BoundProgram, work: Workload, clock: Clock = time.monotonic
) -> Estimator:
    """Return a function that tries methods on a joint evidence, and yields the estimate of the best.

    The trials are, in this order and as far as one is not enough: a bridge, where there are draws;
    importance sampling with K particles; SMC from the prior, or from the guide where the prior is not a
    start. While its error is above 0.05 nats, SMC is run again, up to three times, with as many particles
    as the error asks for and, where ``seconds`` are given, the time allows. With ``seconds``, the first
    run of SMC has few particles, and SMC and the bridge stop at the end of the time: the estimate is then
    that of the best run before. Every run starts from the same state of the generators, so that a call
    with that method and its count gives the same bits.
    """

    def estimate(bound_program: BoundProgram, advance: Advance) -> Iterator[Chosen]:
        yield _Trial(auto, example, work, clock).choice(bound_program, advance)

    return estimate


class _Trial:
    """Try the candidates on the data of one call."""

    def __init__(self, auto: "Auto", example: BoundProgram, work: Workload, clock: Clock) -> None:
        self.state, self.was_stopped = rng_state(), False
        self.candidates = tuple(candidates(auto, example, work.num_particles))
        self.example, self.work, self.clock = example, work, clock
        self.end = math.inf if auto.seconds is None else clock() + auto.seconds
        # of each candidate the last run, which has the most particles: the one with the smallest error
        # would be that whose error came out too small
        self.tried: dict[str, Tried] = {}

    def choice(self, bound_program: BoundProgram, advance: Advance) -> "Chosen":
        """Return the estimate of the best."""
        found, before = self._in_turn(bound_program), None
        advance(0.5)
        for _ in range(RERUNS):
            if found is None or not found.candidate.grows or found.is_enough:
                break
            step = found.candidate.method.num_islands  # type: ignore[attr-defined]  # SMC's
            more = more_particles(found, before, self.end - self.clock(), step)
            if more <= found.num_particles:
                break
            found, before = self._run(found.candidate, more, bound_program), found
        advance(0.5)
        if not self.tried:
            self._raise()
        best = min(self.tried.values(), key=lambda tried: (not tried.is_enough, tried.error))
        return Chosen(best, self.candidates.index(best.candidate), self.was_stopped)

    def _in_turn(self, bound_program: BoundProgram) -> Tried | None:
        for candidate in self.candidates:
            found = self._run(candidate, candidate.num_particles, bound_program)
            if found is not None and (candidate.grows or found.is_enough):
                return found
        return None

    def _run(
        self, candidate: Candidate, num_particles: int, bound_program: BoundProgram
    ) -> Tried | None:
        """Return what a candidate gives; None where it does not suit the program, or the time is over."""
        since, work = self.clock(), replace(self.work, num_particles=num_particles, compile="off")
        set_rng_state(self.state)
        try:
            estimator = candidate.method.estimator(self.example, work)
            set_rng_state(self.state)  # checks draw, too
            advance = (lambda share: None) if candidate.weighs else self._watch
            estimates = last(estimator(bound_program, advance)).unit_estimates()
            part = candidate.method.missed(self.example, num_particles)
            estimates = estimates if part is None else part.without_error(estimates)
        except InputError:
            return None
        except _OutOfTime:
            self.was_stopped = True
            return None
        found = Tried(candidate, num_particles, estimates, self.clock() - since)
        self.tried[candidate.name] = found
        return found

    def _watch(self, share: float) -> None:
        if self.clock() > self.end:
            raise _OutOfTime

    def _raise(self) -> None:
        """Raise the error of importance sampling, which asks for the least."""
        weigh = next(each.method for each in self.candidates if each.weighs)
        last(weigh.estimator(self.example, self.work)(self.example, lambda share: None))


def more_particles(tried: Tried, before: Tried | None, seconds: float, step: int) -> int:
    """Return how many particles bring the error to 0.05 nats, or fit into the time: a multiple of
    ``step``."""
    wanted = MOST
    if math.isfinite(tried.error):
        wanted = min(MOST, int(tried.num_particles * MARGIN * (tried.error / TARGET) ** 2))
    if math.isfinite(seconds):
        fixed, each = cost(tried, before)
        wanted = min(wanted, int((RESERVE * max(seconds, 0.0) - fixed) / each))
    return max(wanted, 0) // step * step


def cost(tried: Tried, before: Tried | None) -> tuple[float, float]:
    """Return the seconds of a run of no particle, and those of each particle.

    A first run tells only their sum, and all of it counts as the particles'. Two runs tell both: the
    pilot run takes most of a short one, and hardly grows.
    """
    each = max(tried.seconds, 1e-9) / tried.num_particles
    if before is None:
        return 0.0, each
    slope = (tried.seconds - before.seconds) / (tried.num_particles - before.num_particles)
    slope = min(max(slope, LEAST_SLOPE * each), each)
    return tried.seconds - slope * tried.num_particles, slope


@dataclass(frozen=True)
class Chosen:
    """Hold the estimate of the candidate that was chosen, and whether the time stopped another run."""

    tried: Tried
    number: int  # in candidates()
    was_stopped: bool = False

    @property
    def count(self) -> int:
        return self.tried.num_particles

    def unit_estimates(self) -> UnitEstimates:
        estimates = self.tried.estimates

        def each(value: float) -> Tensor:
            return torch.full_like(estimates.log_evidence, value)

        return replace(
            estimates,
            smoothed=None,
            jackknife=None,
            bounds={},
            bounds_error={},
            is_annealed=torch.zeros_like(estimates.log_evidence, dtype=torch.bool),
            acceptance=each(math.nan) if estimates.acceptance is None else estimates.acceptance,
            indicative={
                **estimates.indicative,
                CHOSEN: each(self.number),
                COUNT: each(self.count),
                STOPPED: each(self.was_stopped),
            },
        )


CHOSEN, COUNT = "chosen method", "particles of the chosen method"
STOPPED = "whether the time stopped another method"


def notes_of_choice(
    auto: "Auto", estimates: UnitEstimates, example: BoundProgram
) -> tuple[str, ...]:
    """Return the notes of the chosen method; then which it is, why, and the call that repeats it."""
    number, count, stopped = (
        int(estimates.indicative[name][0]) for name in (CHOSEN, COUNT, STOPPED)
    )
    chosen = tuple(candidates(auto, example, count))[number]
    is_enough = Tried(chosen, count, estimates, 0.0).is_enough
    reason = chosen.reason if is_enough else "no other run gave a smaller error"
    note = (
        f"chosen after a trial of each: {chosen.name}, because {reason}; "
        f"method={chosen.call or repr(chosen.method)} with "
        f"num_particles={count:,} and the same seed gives the same figure"
        + (f". Another run did not end within {auto.seconds:g} s" if stopped else "")
    )
    part = chosen.method.missed(example, count)
    return (
        *chosen.method.notes(estimates, example),
        *([] if part is None else [part.note]),
        note,
    )
