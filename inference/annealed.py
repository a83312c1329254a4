"""Annealed importance sampling: the evidence, from chains that walk from the guide to the posterior."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import InputError, nearest
from pyro_vae.inference.evidence import Evidence
from pyro_vae.inference.hmc import Sampler, Steps, pilot
from pyro_vae.inference.paths import Call, FromGuide, FromPrior, Path
from pyro_vae.inference.schedules import Schedule, checked, sigmoid
from pyro_vae.inference.tiles import Tiles, joint_note, progress_bar, tiled
from pyro_vae.inference.walks import Walks, bytes_per_chain, walk
from pyro_vae.program import Layout

STARTS: dict[str, Callable[[Call], Path]] = {"guide": FromGuide, "prior": FromPrior}
MAX_MEMORY = {"cpu": 2**28, "cuda": 2**32}
KNOTS = 20  # places of the path at which step sizes are adapted
STUCK = 0.1  # acceptance below which chains count as not moving


@dataclass(frozen=True)
class Annealing:
    """How to anneal: K chains a unit over inverse temperatures ``betas``, 0 first and 1 last."""

    num_particles: int
    betas: tuple[float, ...]
    num_leapfrog: int
    start: str
    max_memory: int | None

    @classmethod
    def of(
        cls,
        num_particles: int,
        num_temperatures: int,
        start: str,
        schedule: Schedule,
        num_leapfrog: int,
        max_memory: int | None,
    ) -> "Annealing":
        """Checks what a person asks for."""
        for name, value in (
            ("num_particles", num_particles),
            ("num_temperatures", num_temperatures),
            ("num_leapfrog", num_leapfrog),
            ("max_memory", 1 if max_memory is None else max_memory),
        ):
            if value < 1:
                raise InputError(f"{name} must be at least 1, not {value}")
        if start not in STARTS:
            raise InputError(
                f"start must be {' or '.join(map(repr, STARTS))}, not {start!r}"
                f"{nearest(start, STARTS)}"
            )
        betas = checked(schedule, num_temperatures)
        return cls(num_particles, betas, num_leapfrog, start, max_memory)

    @property
    def num_temperatures(self) -> int:
        return len(self.betas) - 1

    @property
    def described(self) -> str:
        if self.num_temperatures == 1:
            return f"importance sampling from the {self.start} (one temperature)"
        return (
            f"annealed importance sampling from the {self.start}, {self.num_temperatures:,} "
            f"temperatures, {self.num_leapfrog} leapfrog steps each"
        )

    def sampler(self, call: Call) -> Sampler:
        """What moves the chains of one tile, and how many at a time."""
        path = STARTS[self.start](call)
        path.check()
        budget = self.max_memory or MAX_MEMORY.get(call.device.type, MAX_MEMORY["cpu"])
        return Sampler(path, self.num_leapfrog, max(1, budget // bytes_per_chain(path)))

    def steps(self, sampler: Sampler) -> Steps | None:
        """Step sizes from a pilot run past at most 20 places; None where nothing will move."""
        if self.num_temperatures == 1 or not sampler.path.coordinates.size:
            return None
        every = math.ceil(self.num_temperatures / KNOTS)
        return pilot(sampler, self.betas[:0:-every][::-1])

    def chunks(self, tiles: Tiles) -> Iterator[int]:
        """Numbers of chains that together make K."""
        for first in range(0, self.num_particles, tiles.chains):
            yield min(tiles.chains, self.num_particles - first)

    def ticks(self, tiles: Tiles) -> int:
        """How many temperatures the chains of all tiles will see, times units."""
        return len(list(self.chunks(tiles))) * self.num_temperatures * tiles.rows.num_units

    def evidence(self, walked: Sequence[Walks], layout: Layout) -> Evidence:
        """The result of all tiles together."""
        weights = [walks.weights for walks in walked]
        acceptance = together(walks.acceptance for walks in walked)
        return Evidence(
            log_evidence=together(w.log_mean() for w in weights),
            standard_error=together(w.standard_error() for w in weights),
            ess=together(w.ess() for w in weights),
            pareto_k=together(w.pareto()[0] for w in weights),
            jackknife=together(w.jackknife() for w in weights),
            num_particles=self.num_particles,
            unit=layout.unit,
            method=self.described,
            is_unbiased=True,
            notes=joint_note(layout) + _stuck_note(acceptance),
        )


def together(parts: Iterable[Tensor]) -> Tensor:
    """The tiles' figures as one tensor on the host, ``units |``."""
    return torch.cat(list(parts)).cpu()


def _stuck_note(acceptance: Tensor) -> tuple[str, ...]:
    stuck = acceptance < STUCK
    if not stuck.any():
        return ()
    return (
        f"the chains of {int(stuck.sum()):,} of {len(stuck):,} units hardly moved (fewer than "
        f"{STUCK:.0%} of their steps were accepted; the first is unit {int(stuck.nonzero()[0])}): what "
        "they say is hardly better than importance sampling",
    )


def annealed_evidence(
    program: Any,
    data: Any,
    *,
    num_particles: int = 16,
    num_temperatures: int = 100,
    start: str = "guide",
    schedule: Schedule = sigmoid,
    num_leapfrog: int = 10,
    unit: str | None = None,
    seed: int | None = None,
    device: str | torch.device = "auto",
    max_memory: int | None = None,
    progress: bool | None = None,
) -> Evidence:
    """Estimates log p(x) of each unit by annealed importance sampling with HMC transitions.

    K chains for each unit set out from q, the guide or the prior, and walk along the geometric path
    p_b(z) ∝ q(z)^(1 - b) p(x, z)^b: one Hamiltonian Monte Carlo transition in unconstrained coordinates
    at each of the inverse temperatures 0 = b_0 < b_1 < ... < b_T = 1 but the first and last. Then

        log p(x) ~ log (1/K) sum_k w_k,
        log w = sum_t (b_t - b_(t-1)) (log p(x, z_(t-1)) - log q(z_(t-1))).

    The mean weight is unbiased for p(x) whatever the step sizes, which are adapted for each unit in a
    pilot run and then stay as they are; the mean of its log is a lower bound. With T = 1 this is
    importance sampling. Latents that only the model has and marks for enumeration are summed out; all
    others must be continuous. Nothing that the call touches is changed by it, and memory does not grow
    with K or T.

    Source: R. M. Neal, "Annealed importance sampling", 2001, https://doi.org/10.1023/A:1008923215028;
    of decoders, and from an encoder: Y. Wu, Y. Burda, R. Salakhutdinov, R. Grosse, "On the quantitative
    analysis of decoder-based generative models", 2017, https://arxiv.org/abs/1611.04273.

    Args:
        program: a model and guide.
        data: a tensor, a tuple of tensors, a Dataset, a DataLoader or a split.
        num_particles: K, chains a unit.
        num_temperatures: T.
        start: "guide" or "prior", where the chains set out.
        schedule: T -> the T + 1 inverse temperatures.
        num_leapfrog: gradients of the log-density that a transition takes.
        unit: the plate to give figures for; by default the outermost that holds every site. Without
            one the figure is joint, of all data together, and the result says so.
        seed: of pilot and chains; by default they go on from torch's generator, without advancing it.
        device: where to compute; "auto" is the GPU where there is one.
        max_memory: bytes for the gradients' graph; by default 256 MB on a CPU, 4 GB on a GPU.
        progress: whether to draw a bar; by default where standard error is a terminal.

    :raises InputError: the program does not fit the data; a latent is discrete and not summed out; the
        guide's support is not the prior's; the schedule does not rise from 0 to 1.

    >>> from pyro_vae.models import FactorAnalysis
    >>> x, model = torch.randn(4, 3), FactorAnalysis((3,), 1)
    >>> evidence = annealed_evidence(model, x, num_temperatures=20, seed=0)
    >>> off = (evidence.log_evidence - model.log_evidence(x)).abs() / evidence.standard_error
    >>> bool((off < 5).all())
    True
    """
    annealing = Annealing.of(
        num_particles, num_temperatures, start, schedule, num_leapfrog, max_memory
    )
    walked = []
    with tiled(program, data, unit, seed, device) as tiles:
        with progress_bar(annealing.ticks(tiles), progress) as bar:
            for call in tiles:
                sampler = annealing.sampler(call)
                tick = partial(bar.update, call.num_rows)
                walked.append(forward(annealing, tiles, sampler, annealing.steps(sampler), tick))
        return annealing.evidence(walked, tiles.few.layout)


def forward(
    annealing: Annealing,
    tiles: Tiles,
    sampler: Sampler,
    steps: Steps | None,
    tick: Callable[[], object],
) -> Walks:
    """All K chains of one tile, from the start to the posterior."""
    walks = Walks(annealing.num_particles, sampler.path.call.layout.num_units, tiles.rows.device)
    for num_chains in annealing.chunks(tiles):
        u = sampler.path.draw(num_chains)
        walks.add(walk(sampler, u, annealing.betas, steps, tick))
    return walks
