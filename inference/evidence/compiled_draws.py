"""Draws and weights by compiled code in place of Python, where there are many of one size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.compiling.checked_code import Code, checked_code
from pyro_vae.inference.compiling.fx_capture import CannotCapture
from pyro_vae.inference.compiling.inductor import layout
from pyro_vae.inference.evidence.method import Workload, part_size
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.generators import generators_as_found
from pyro_vae.program.log_prob import score
from pyro_vae.program.particles import (
    Particles,
    in_parts,
    is_per_particle,
    score_model,
    values_of,
    with_values,
)
from pyro_vae.program.trace import drawn_sites, proposal_sites

# Parts of the particles for which the model is scored, from which compiling is worth it: it takes as long
# as 3,000 of them save on one machine (Xeon, Sapphire Rapids) and 11,000 on another (EPYC, Zen 4). They are
# counted, not timed, so that a run can be repeated.
PARTS_WORTH_INDUCTOR = 6_000


Draw = Callable[..., Particles]
"""Draws for a call a number of particles, and weighs some at a time."""


def fastest_draw(in_python: Draw, work: Workload, max_weights: float) -> Draw:
    """Return what draws by compiled code where that is worth it, or Python.

    Args:
        in_python: draws without a compiler.
        work: what is to be estimated.
        max_weights: how many weights are computed at a time.
    """
    is_worth_it = work.num_particles * sum(work.tile_sizes) / max_weights >= PARTS_WORTH_INDUCTOR
    if work.compiles(is_worth_it):
        return _CompilingDraw(work, in_python)
    return in_python


class _CompilingDraw:
    """Draw and weigh by compiled code for the sizes of calls that are frequent, and elsewhere in Python."""

    def __init__(self, work: Workload, in_python: Draw) -> None:
        self.work, self.in_python = work, in_python
        self._compiled: dict[tuple[int, int], CompiledDraws | None] = {}

    def __call__(self, bound_program: BoundProgram, num_particles: int, at_once: int) -> Particles:
        """Return what Python gives, up to rounding.

        Raises:
            InputError: ``compile="on"``, and the program cannot be compiled.
        """
        key = (bound_program.structure.num_units, num_particles)
        if key not in self._compiled:
            self._compiled[key] = self._compile(bound_program, num_particles, at_once)
        compiled = self._compiled[key]
        if compiled is not None and compiled.takes(bound_program):
            return compiled(bound_program)
        return self.in_python(bound_program, num_particles, at_once)

    def _compile(
        self, bound_program: BoundProgram, num_particles: int, at_once: int
    ) -> "CompiledDraws | None":
        work = self.work
        tiles = work.tile_sizes.count(bound_program.structure.num_units)
        at_once = part_size(num_particles, at_once)
        parts = tiles * (work.num_particles // num_particles) * (num_particles // at_once)
        if not work.compiles(parts >= PARTS_WORTH_INDUCTOR / 4):  # it may be one of several sizes
            return None
        try:
            with generators_as_found():
                return compile_draws(bound_program, num_particles, at_once)
        except CannotCapture as reason:
            if work.compile == "auto":
                return None
            raise InputError(
                f"compile='on': the program cannot be compiled: {reason}",
                subject="compile",
                remedy="take compile='auto'",
            ) from reason


@dataclass(frozen=True)
class CompiledDraws:
    """Draw particles for calls of one size, and weigh them, as Python does.

    Attributes:
        bound_program: one of these calls.
        num_particles: how many are drawn together.
        at_once: how many the model scores at a time.
        latents: the guide's trace of as many particles, whose sites name the latents.
        guide: the arguments -> log q and the latents.
        model: the latents of ``at_once`` particles and the arguments -> log p(x | z) and log p(z).
    """

    bound_program: BoundProgram
    num_particles: int
    at_once: int
    latents: poutine.Trace
    guide: Code
    model: Code

    def __call__(self, bound_program: BoundProgram) -> Particles:
        log_guide, *values = self.guide(*bound_program.args)

        def weigh(some: range) -> tuple[Tensor, ...]:
            part = some_particles(self.latents, bound_program, values, some)
            if len(some) == self.at_once:
                return self.model(*part, *bound_program.args)
            return weigh_at_values(self.latents, bound_program, part, len(some))

        log_likelihood, log_prior = in_parts(weigh, self.num_particles, self.at_once)
        by_name = dict(zip(drawn_sites(self.latents), values, strict=True))
        return Particles(log_likelihood, log_prior, log_guide, by_name)

    def takes(self, bound_program: BoundProgram) -> bool:
        """Return whether the code holds for a call."""
        mine = self.bound_program
        return (
            bound_program.structure == mine.structure
            and bound_program.kwargs is mine.kwargs
            and bound_program.program.model is mine.program.model
            and bound_program.program.guide is mine.program.guide
            and list(map(layout, bound_program.args)) == list(map(layout, mine.args))
        )


def compile_draws(bound_program: BoundProgram, num_particles: int, at_once: int) -> CompiledDraws:
    """Compile the draws and weights of calls like this one.

    Raises:
        CannotCapture: the code would not do what the program does.
    """
    if not bound_program.vectorized:
        raise CannotCapture("its particles do not run under a plate")
    if (
        not all(isinstance(argument, Tensor) for argument in bound_program.args)
        or not bound_program.args
    ):
        raise CannotCapture("its arguments are not tensors")
    latents = bound_program.guide(num_particles)
    values = list(values_of(latents).values())

    def draw(*args: Tensor) -> tuple[Tensor, ...]:
        trace = replace(bound_program, args=args).guide(num_particles)
        log_guide = score(proposal_sites(trace).values(), bound_program.structure, num_particles)
        return (log_guide, *values_of(trace).values())

    def weigh(*tensors: Tensor) -> tuple[Tensor, ...]:
        part, args = tensors[: len(values)], tensors[len(values) :]
        return weigh_at_values(latents, replace(bound_program, args=args), part, at_once)

    owners = {
        "model": bound_program.program.model,
        "guide": bound_program.program.guide,
        **bound_program.program.modules,
    }
    part = some_particles(latents, bound_program, values, range(at_once))
    guide = checked_code(draw, bound_program.args, owners)
    model = checked_code(weigh, (*part, *bound_program.args), owners)
    return CompiledDraws(bound_program, num_particles, at_once, latents, guide, model)


def some_particles(
    latents: poutine.Trace, bound_program: BoundProgram, values: Sequence[Tensor], some: range
) -> list[Tensor]:
    """Return the values of some particles, for each latent."""
    sites = drawn_sites(latents).values()
    return [
        value[some.start : some.stop] if is_per_particle(site, bound_program.structure) else value
        for site, value in zip(sites, values, strict=True)
    ]


def weigh_at_values(
    latents: poutine.Trace,
    bound_program: BoundProgram,
    values: Sequence[Tensor],
    num_particles: int,
) -> tuple[Tensor, Tensor]:
    """Return log p(x | z) and log p(z), (K, U) each, at these values of the latents."""
    by_name = dict(zip(drawn_sites(latents), values, strict=True))
    given = with_values(latents, lambda site: by_name[site["name"]])
    return score_model(
        bound_program.joint(num_particles, given), bound_program.structure, num_particles
    )
