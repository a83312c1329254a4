"""Draws and weights by compiled code in place of Python, where there are many of one size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.compiling.checked_code import Code, checked_code
from pyro_vae.inference.compiling.fx_capture import CannotCapture
from pyro_vae.inference.evidence.method import Workload
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.isolation import rng_state, set_rng_state
from pyro_vae.program.log_prob import score
from pyro_vae.program.particles import (
    Particles,
    in_parts,
    is_per_particle,
    values_of,
    weigh_at,
    with_values,
)
from pyro_vae.program.trace import drawn_sites, proposal_sites

# Parts of the particles for which the model is scored, from which compiling is worth it: it takes as long
# as some thousands of them save. They are counted, not timed, so that a run can be repeated.
PARTS_WORTH_INDUCTOR = 5_000


class Draws:
    """Draw particles and weigh them, by compiled code for the sizes of calls that are frequent.

    Args:
        work: what is to be estimated.
        in_python: draws and weighs for a call, a number of particles, and how many are weighed at a time.
    """

    def __init__(self, work: Workload, in_python: Callable[..., Particles]) -> None:
        self.work, self.in_python = work, in_python
        self._compiled: dict[tuple[int, int], CompiledDraws | None] = {}

    def __call__(self, call: BoundProgram, num_particles: int, at_once: int) -> Particles:
        """Return what Python gives, up to rounding.

        Raises:
            InputError: ``compile="on"``, and the program cannot be compiled.
        """
        key = (call.structure.num_units, num_particles)
        if key not in self._compiled:
            self._compiled[key] = self._compile(call, num_particles, at_once)
        compiled = self._compiled[key]
        if compiled is not None and compiled.takes(call):
            return compiled(call)
        return self.in_python(call, num_particles, at_once)

    def _compile(
        self, call: BoundProgram, num_particles: int, at_once: int
    ) -> "CompiledDraws | None":
        work = self.work
        tiles = work.tile_sizes.count(call.structure.num_units)
        parts = tiles * (work.num_particles // num_particles) * (num_particles // at_once)
        if work.compile == "off" or (work.compile == "auto" and parts < PARTS_WORTH_INDUCTOR):
            return None
        noise = rng_state()
        try:
            return compile_draws(call, num_particles, at_once)
        except CannotCapture as reason:
            if work.compile == "auto":
                return None
            raise InputError(
                f"compile='on': the program cannot be compiled: {reason}",
                subject="compile",
                remedy="take compile='auto'",
            ) from reason
        finally:
            set_rng_state(noise)


@dataclass(frozen=True)
class CompiledDraws:
    """Draw particles for calls of one size, and weigh them, as ``BoundProgram.draw`` does.

    Attributes:
        call: one of these calls.
        num_particles: how many are drawn together.
        at_once: how many the model scores at a time; it divides them.
        guide: the arguments -> log q and the latents.
        model: the latents of ``at_once`` particles and the arguments -> log p(x | z) and log p(z).
        names: of the latents.
        varies: whether each latent has a value for each particle.
    """

    call: BoundProgram
    num_particles: int
    at_once: int
    guide: Code
    model: Code
    names: Sequence[str]
    varies: Sequence[bool]

    def __call__(self, call: BoundProgram) -> Particles:
        log_guide, *latents = self.guide(*call.args)

        def weigh(some: range) -> tuple[Tensor, ...]:
            part = zip(latents, self.varies, strict=True)
            values = [value[some.start : some.stop] if varies else value for value, varies in part]
            return self.model(*values, *call.args)

        log_likelihood, log_prior = in_parts(weigh, self.num_particles, self.at_once)
        latents_by_name = dict(zip(self.names, latents, strict=True))
        return Particles(log_likelihood, log_prior, log_guide, latents_by_name)

    def takes(self, call: BoundProgram) -> bool:
        """Return whether the code holds for a call."""
        mine = self.call
        return (
            call.structure == mine.structure
            and call.kwargs is mine.kwargs
            and call.program.model is mine.program.model
            and call.program.guide is mine.program.guide
            and list(map(_layout, call.args)) == list(map(_layout, mine.args))
        )


def _layout(argument: Any) -> Any:
    return (argument.shape, argument.stride(), argument.dtype)


def compile_draws(call: BoundProgram, num_particles: int, at_once: int) -> CompiledDraws:
    """Compile the draws and weights of calls like this one.

    Raises:
        CannotCapture: the code would not do what the program does.
    """
    if not call.vectorized:
        raise CannotCapture("its particles do not run under a plate")
    if not all(isinstance(argument, Tensor) for argument in call.args) or not call.args:
        raise CannotCapture("its arguments are not tensors")
    if num_particles % at_once:
        raise CannotCapture(f"{num_particles} particles are not drawn in equal parts")
    program, structure = call.program, call.structure
    owners = {"model": program.model, "guide": program.guide, **program.modules}
    template = call.guide(num_particles)
    sites = drawn_sites(template)

    def draw(*args: Tensor) -> tuple[Tensor, ...]:
        trace = replace(call, args=args).guide(num_particles)
        log_guide = score(proposal_sites(trace).values(), structure, num_particles)
        return (log_guide, *values_of(trace).values())

    def weigh(*tensors: Tensor) -> tuple[Tensor, ...]:
        values = dict(zip(sites, tensors, strict=False))
        given = with_values(template, lambda site: values[site["name"]])
        return weigh_at(program, structure, given, at_once, tensors[len(sites) :], call.kwargs)

    varies = [is_per_particle(site, structure) for site in sites.values()]
    part = [
        s["value"][:at_once] if v else s["value"]
        for s, v in zip(sites.values(), varies, strict=True)
    ]
    guide = checked_code(draw, call.args, owners)
    model = checked_code(weigh, (*part, *call.args), owners)
    return CompiledDraws(call, num_particles, at_once, guide, model, list(sites), varies)
