"""The choice of a method for a joint evidence, by what a short trial of each shows."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.evidence.bridge import Bridge
from pyro_vae.inference.evidence.label_notes import one_mode_note
from pyro_vae.inference.evidence.method import Advance, Method, UnitEstimates, Workload, last
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.generators import rng_state, set_rng_state

if TYPE_CHECKING:
    from pyro_vae.inference.evidence.auto import Auto

TARGET = 0.05  # nats: a standard error that is small enough
SAFE_K = 0.5  # Pareto k up to which importance weights have a variance
MOST = 50_000  # particles of SMC
RESERVE = 0.8  # share of the time left that is planned for
NAMES = (
    "importance",
    "smc from the guide",
    "smc from the prior",
    "bridge",
    "importance in all orders of the labels",
)
WEIGHTS = (0, 4)  # methods of importance sampling
LEAST_PER_ISLAND = 10  # particles of the first run of SMC, where the time is limited
Clock = Callable[[], float]


@dataclass(frozen=True)
class Tried:
    """Hold what one method gave, with how many particles, and how long it took."""

    number: int  # in NAMES
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
        heavy = self.number in WEIGHTS and bool((self.estimates.pareto_k > SAFE_K).any())
        return self.error <= TARGET and not heavy


class _OutOfTime(Exception):
    """End a run whose time is over."""


def joint_estimator(
    auto: "Auto", example: BoundProgram, work: Workload, clock: Clock = time.monotonic
) -> Callable[[BoundProgram, Advance], Iterator["Chosen"]]:
    """Return a function that tries methods on a joint evidence, and yields the estimate of the best.

    The trials are, in this order and as far as one is not enough: a bridge, where there are draws;
    importance sampling with K particles; SMC from the guide, or from the prior where the guide is not a
    start. If its error is above 0.05 nats, SMC is run once more, with as many particles as the error asks
    for and, where ``seconds`` are given, the time allows. With ``seconds``, the first run of SMC has few
    particles, and SMC and the bridge stop at the end of the time: the estimate is then that of the best
    run before. Every run starts from the same state of the
    generators, so that a call with that method and its count gives the same bits.
    """
    runs = dict(methods(auto, example))

    def estimate(bound_program: BoundProgram, advance: Advance) -> Iterator[Chosen]:
        began, state = clock(), rng_state()
        tried: list[Tried] = []
        stopped: list[int] = []
        end = math.inf if auto.seconds is None else began + auto.seconds

        def watch(share: float) -> None:
            if clock() > end:
                raise _OutOfTime

        def run(number: int, num_particles: int) -> Tried | None:
            since = clock()
            set_rng_state(state)
            try:
                method = runs[number]
                each = replace(work, num_particles=num_particles, compile="off")
                estimator = method.estimator(example, each)
                set_rng_state(state)  # checks draw, too
                each_part = (lambda share: None) if number in WEIGHTS else watch
                found = last(estimator(bound_program, each_part)).unit_estimates()
            except InputError:
                return None
            except _OutOfTime:
                stopped.append(number)
                return None
            tried.append(Tried(number, num_particles, found, clock() - since))
            return tried[-1]

        few = auto.smc_particles
        if auto.seconds is not None:
            few = min(few, LEAST_PER_ISLAND * auto.smc.num_islands)
        _try_in_turn(run, runs, work.num_particles, few)
        advance(0.5)
        smc = tried[-1] if tried and tried[-1].number in (1, 2) else None
        if smc is not None and not smc.is_enough:
            more = _more_particles(smc, end - clock(), auto.smc.num_islands)
            if more > smc.num_particles:
                run(smc.number, more)
        advance(0.5)
        if not tried:
            _raise(runs, example, work)
        yield Chosen(min(tried, key=_rank), bool(stopped))

    return estimate


def methods(auto: "Auto", example: BoundProgram) -> Iterator[tuple[int, Method]]:
    """Yield the methods that are tried, by number, in their order."""
    if auto.draws is not None:
        yield 3, Bridge(auto.draws, auto.num_chains_of_draws)
    is_one_mode = not auto.importance.relabel and bool(one_mode_note(example))
    yield (4, replace(auto.importance, relabel=True)) if is_one_mode else (0, auto.importance)
    yield 2, replace(auto.smc, start="prior")  # reaches what a narrow guide misses
    yield 1, replace(auto.smc, start="guide")


def _try_in_turn(
    run: Callable[[int, int], Tried | None],
    runs: Mapping[int, Method],
    num_particles: int,
    smc_particles: int,
) -> None:
    for number in runs:
        is_smc = number in (1, 2)
        count = smc_particles if is_smc else num_particles
        tried = run(number, max(count, Bridge.num_particles) if number == 3 else count)
        if tried is not None and (is_smc or tried.is_enough):
            return


def _more_particles(smc: Tried, seconds: float, step: int) -> int:
    """Return how many particles bring the error to 0.05 nats, or fit into the time: a multiple of
    ``step``."""
    wanted = MOST
    if math.isfinite(smc.error):
        wanted = min(MOST, int(smc.num_particles * 1.3 * (smc.error / TARGET) ** 2))
    if math.isfinite(seconds):
        fitting = RESERVE * max(seconds, 0.0) / max(smc.seconds, 1e-9) * smc.num_particles
        wanted = min(wanted, int(fitting))
    return wanted // step * step


def _rank(tried: Tried) -> tuple[bool, float]:
    return not tried.is_enough, tried.error


def _raise(runs: Mapping[int, Method], example: BoundProgram, work: Workload) -> None:
    """Raise the error of importance sampling, which asks for the least."""
    weigh = next(runs[number] for number in WEIGHTS if number in runs)
    last(weigh.estimator(example, work)(example, lambda share: None))


@dataclass(frozen=True)
class Chosen:
    """Hold the estimate of the method that was chosen, and whether the time stopped another."""

    tried: Tried
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
                CHOSEN: each(self.tried.number),
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
    chosen = dict(methods(auto, example))[int(estimates.indicative[CHOSEN][0])]
    return (*chosen.notes(estimates, example), _sentence(auto, estimates))


def _sentence(auto: "Auto", estimates: UnitEstimates) -> str:
    number, count = (int(estimates.indicative[name][0]) for name in (CHOSEN, COUNT))
    call = {
        0: f"{auto.importance!r}",
        1: f"SMC(start='guide', num_islands={auto.smc.num_islands})",
        2: f"SMC(start='prior', num_islands={auto.smc.num_islands})",
        3: f"Bridge(draws, num_chains={auto.num_chains_of_draws})",
        4: f"{replace(auto.importance, relabel=True)!r}",
    }[number]
    light = "the importance weights are light-tailed and their error is at most 0.05 nats"
    stopped = bool(estimates.indicative[STOPPED][0])
    if not Tried(number, count, estimates, 0.0).is_enough:
        light = "no other run gave a smaller error"
    reason = {
        0: light,
        4: light,
        1: "the importance weights were not good enough, and the prior is not a start",
        2: "the importance weights were not good enough",
        3: "draws were given and their bridge has the smallest error",
    }[number]
    return (
        f"chosen after a trial of each: {NAMES[number]}, because {reason}; method={call} with "
        f"num_particles={count:,} and the same seed gives the same figure"
        + (f". Another run did not end within {auto.seconds:g} s" if stopped else "")
    )
