"""The log-likelihood of all data, with its derivatives, at any values of the parameters."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from pyro_vae.allocations import Allocations
from pyro_vae.inference.evidence.tiles import Tiles
from pyro_vae.inference.parameters.derivatives import Derivatives, differentiate
from pyro_vae.inference.parameters.derived import Derived
from pyro_vae.inference.parameters.learnt import Learnt, of_model
from pyro_vae.inference.parameters.log_likelihood import LogLikelihood
from pyro_vae.inference.parameters.maximum import maximize
from pyro_vae.inference.parameters.quadrature import num_nodes
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.float64 import in_float64

MAX_BYTES, MOST_UNITS = 2**25, 512  # of a tile: one run with all draws, without its graph


def fitting_units(example: BoundProgram, num_particles: int) -> int:
    single = example.single()
    latents = single.guide(1)
    with Allocations() as allocations:
        single.joint(1, latents)
    bytes_of_one = max(1.0, allocations.bytes / example.structure.num_units)
    draws = num_nodes(example) or num_particles
    return min(MOST_UNITS, max(1, int(MAX_BYTES / bytes_of_one / draws)))


@dataclass(frozen=True)
class Likelihood:
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

    def derived(self, values: Sequence[Tensor]) -> Derived:
        """Return the program's own functions of the parameters at values of these."""
        example = self.tiles.example
        leaves = [each.unconstrained for each in self.parameters]
        with _in(self.dtype, example), _holding(leaves, values):
            return Derived.of(example.program, leaves)

    def everywhere(self) -> tuple[list[Tensor], list[Derivatives]]:
        """Return the parameters, of an exact likelihood at its maximum, and each repeat's derivatives."""
        start = [each.unconstrained.detach().double().clone() for each in self.parameters]
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


def examine_parameters(
    example: BoundProgram, found: Mapping[str, Learnt], likelihood: LogLikelihood
) -> tuple[list[Learnt], torch.dtype]:
    """Return the model's parameters, and the precision in which the program can be differentiated."""
    try:
        with in_float64(example) as wide:
            value = likelihood.evaluate(wide)
            if value.dtype == torch.float64:
                likelihood.notes()  # which refuses bad weights
                return of_model(found, value), torch.float64
    except (RuntimeError, ValueError, TypeError):
        pass  # its own precision shows what is wrong, if anything is
    found_in_float32 = of_model(found, likelihood.evaluate(example))
    likelihood.notes()  # which refuses bad weights
    return found_in_float32, torch.float32
