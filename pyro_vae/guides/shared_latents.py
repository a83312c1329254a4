"""The guide of all latents outside the units' plate: one distribution, and factors given its draw."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, cast

import pyro
import torch
from torch import Tensor, nn

from pyro_vae.guides.free_factor import FreeFactor
from pyro_vae.guides.guide import GuideFactory
from pyro_vae.guides.joint_latents import JointLatents
from pyro_vae.guides.latent import Latent

MOST_INPUTS = 200  # numbers that a factor reads


class SharedLatents(nn.Module):
    """Draw the latents that all units share: q(joint) prod_v q(v | what v depends on).

    Args:
        latents: by name.
        joint: those that one distribution draws together.
        parents: what each of the others depends on, in the order of drawing.
        nesting: the number of dimensions of the program's plates.
        family: makes the joint distribution; by default a Student t, or a normal one.
    """

    def __init__(
        self,
        latents: Mapping[str, Latent],
        joint: Sequence[str],
        parents: Mapping[str, Sequence[str]],
        nesting: int,
        family: GuideFactory | None = None,
    ) -> None:
        super().__init__()
        self.latents, self.nesting = dict(latents), nesting
        together = {n: latents[n] for n in joint}
        self.joint = JointLatents(together, nesting, family) if joint else None
        self.parents = {n: self._readable(n, parents[n]) for n in parents}
        self.factors = nn.ModuleList(
            FreeFactor(latents[n], sum(self._num_read(n, u) for u in us))
            for n, us in self.parents.items()
        )

    def draw(
        self,
        name: str,
        fn: Any,
        plates: Mapping[str, Any],
        standardised: dict[str, Tensor],
    ) -> Tensor:
        """Draw one of the latents that are not in the joint distribution.

        Args:
            name: of the latent.
            fn: its prior, given what was drawn before; None if that is not known.
            plates: by name.
            standardised: the coordinates of the latents drawn before, ``particles, cells | D``, with mean 0
                and scale 1 given those before them; the latent's are added.
        """
        latent, parents = self.latents[name], self.parents[name]
        inputs = [self._read(name, u, standardised[u]) for u in parents]
        batch = torch.broadcast_shapes(*(x.shape[:-1] for x in inputs))
        joined = [x.expand(*batch, x.shape[-1]) for x in inputs]
        prior = None if fn is None else latent.coordinates.prior_of(fn)
        factor = self.factors[[*self.parents].index(name)]
        q, mean, scale = factor(torch.cat(joined, -1) if joined else None, prior)
        with ExitStack() as stack:
            for plate in latent.plates:
                stack.enter_context(plates[plate])
            value: Tensor = pyro.sample(name, q)
        standardised[name] = (latent.coordinates(value) - mean) / scale
        return value

    @torch.no_grad()
    def start_at(self, values: Mapping[str, Tensor]) -> None:
        """Move the means to the latents' values."""
        if self.joint is not None:
            self.joint.start_at(values)
        for name, factor in zip(self.parents, self.factors, strict=True):
            cast(FreeFactor, factor).start_at(values[name])

    def descriptions(self) -> dict[str, str]:
        """Return each factor's family in words, by its names."""
        words = {}
        if self.joint is not None:
            words[_listed([*self.joint.latents])] = f"{self.joint.description}, free parameters"
        for name in self.parents:
            latent = self.latents[name]
            of = f" of each of {latent.num_cells:,}" if latent.num_cells > 1 else ""
            words[name] = f"{latent.coordinates.description}, free parameters{of}"
        return words

    def product(self) -> str:
        """Return the factorisation, such as ``q(mean) prod_groups q(effect | mean)``."""
        factors = [] if self.joint is None else [f"q({_listed([*self.joint.latents])})"]
        for name, parents in self.parents.items():
            given = f" | {_listed(parents)}" if parents else ""
            of = "".join(f"prod_{plate} " for plate in self.latents[name].plates)
            factors.append(f"{of}q({name}{given})")
        return " ".join(factors)

    def _readable(self, name: str, parents: Sequence[str]) -> list[str]:
        """Return those that a factor reads: not more numbers than it has use for."""
        read, left = [], MOST_INPUTS
        for parent in parents:
            if (count := self._num_read(name, parent)) <= left:
                read.append(parent)
                left -= count
        return read

    def _num_read(self, name: str, parent: str) -> int:
        of = self.latents[parent]
        return of.coordinates.size if self.latents[name].lies_in(of) else of.size

    def _read(self, name: str, parent: str, standardised: Tensor) -> Tensor:
        """Return the coordinates of a parent: its own cell's for each cell of the latent, or all."""
        of = self.latents[parent]
        if self.latents[name].lies_in(of):
            return standardised
        particles = standardised.shape[: max(0, standardised.dim() - 1 - self.nesting)]
        padding = (1,) * self.nesting if particles else ()
        return standardised.reshape(*particles, *padding, of.size)


def _listed(names: Sequence[str]) -> str:
    """Return names for a line of text.

    >>> _listed(["a", "b"]), _listed([f"z_{t}" for t in range(40)])
    ('a, b', 'z_0, z_1, z_2, ..., z_39')
    """
    return ", ".join(names if len(names) < 7 else [*names[:3], "...", names[-1]])
