"""The guide of a unit's latents: networks read the unit's rows, and what is drawn before."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from math import prod
from typing import Any, cast

import pyro
import torch
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.guides.along_model import Draw
from pyro_vae.guides.amortized_factor import AmortizedFactor, Factor
from pyro_vae.guides.family_factor import FamilyFactor
from pyro_vae.guides.guide import GuideFactory
from pyro_vae.guides.latent import Latent
from pyro_vae.guides.model_facts import Unit
from pyro_vae.guides.rows import Columns, Steps, Summary
from pyro_vae.guides.series import series_in
from pyro_vae.networks import NetworkFactory


class UnitLatents(nn.Module):
    """Draw the latents of each unit: prod_v q(v | rows, what v depends on).

    Args:
        unit: the plate of the units, and the arguments with a row for each.
        latents: all latents by name, also the shared ones.
        parents: what each of the unit's latents depends on, in the order of drawing.
        args: the arguments of a call, whose rows set the scale of what the networks read.
        network: makes the network of each factor.
        nesting: the number of dimensions of the program's plates.
        reader: makes the network that summarises a unit's rows; by default its numbers are read in a line.
        family: makes the distribution of each latent; by default it follows from the prior.
    """

    def __init__(
        self,
        unit: Unit,
        latents: Mapping[str, Latent],
        parents: Mapping[str, Sequence[str]],
        args: Sequence[Any],
        network: NetworkFactory,
        nesting: int,
        reader: NetworkFactory | None = None,
        family: GuideFactory | None = None,
    ) -> None:
        super().__init__()
        self.unit, self.latents, self.nesting = unit, dict(latents), nesting
        rows = self.rows(args)
        lengths = {x.shape[1] for x in rows if x.dim() > 1}
        self.series = series_in(parents, self._kinds(parents), lengths)
        self.steps = {name: (s, t) for s in self.series for t, name in enumerate(s.names)}
        self.parents = {n: self._read_by(n, us) for n, us in parents.items()}
        firsts = [n for n in parents if n not in self.steps or self.steps[n][1] == 0]
        keys = {name: _key(name, number) for number, name in enumerate(firsts)}
        self.keys = {n: keys[self.steps[n][0].names[0] if n in self.steps else n] for n in parents}
        if reader is not None and len(self.steps) == len(parents):
            raise InputError(
                "all latents of a unit are series, and a network of its own reads those backwards",
                subject="reader",
                remedy="leave reader out",
            )
        self.columns = Columns(rows) if reader is None else Summary(rows, reader)
        self.readers = nn.ModuleDict(
            {keys[s.names[0]]: Steps(rows, len(s.names) - s.offset) for s in self.series}
        )
        kind: Callable[..., Factor] = AmortizedFactor
        if family is not None:
            kind = partial(FamilyFactor, family)
        self.factors = nn.ModuleDict({keys[n]: self._factor(n, kind, network) for n in firsts})
        self.to(rows[0].device)

    def drawing(
        self, args: Sequence[Any], plates: Mapping[str, Any], shared: Mapping[str, Tensor]
    ) -> Draw:
        """Read the rows, and return what draws a latent of the units, given those drawn before.

        Args:
            args: the arguments of a call.
            plates: by name.
            shared: standardised coordinates of the shared latents, ``particles, cells | D``.
        """
        rows = self.rows(args)
        columns = self.columns(rows)
        summaries = {key: reader(rows) for key, reader in self.readers.items()}
        seen = {name: self._in_line(name, free) for name, free in shared.items()}

        def draw(name: str, fn: Any) -> Tensor:
            read, key, latent = columns, self.keys[name], self.latents[name]
            if name in self.steps:
                series, t = self.steps[name]
                read = summaries[key][max(t - series.offset, 0)]
            inputs = [read]
            for parent, size in self.parents[name]:
                inputs.append(read.new_zeros(1, size) if parent is None else seen[parent])
            batch = torch.broadcast_shapes(*(x.shape[:-1] for x in inputs))
            joined = torch.cat([x.expand(*batch, x.shape[-1]) for x in inputs], -1)
            factor = cast(Factor, self.factors[key])
            prior = None if fn is None else latent.coordinates.prior_of(fn)
            with ExitStack() as stack:
                for plate in latent.plates:
                    stack.enter_context(plates[plate])
                value: Tensor = pyro.sample(name, factor(joined, prior))
            seen[name] = self._in_line(name, factor.standardised(value))
            return value

        return draw

    def rows(self, args: Sequence[Any]) -> list[Tensor]:
        """Return the arguments' rows.

        Raises:
            InputError: they have unlike lengths.
        """
        rows = [args[number] for number in self.unit.rows]
        if len({len(x) for x in rows}) > 1:
            lengths = ", ".join(f"{len(x):,}" for x in rows)
            raise InputError(
                f"the guide reads rows of arguments {self.unit.rows}, which now have {lengths} of them",
                subject=self.unit.name,
                expected="as many rows of each",
                remedy="pass what is no row to the model by its name",
            )
        return rows

    def product(self) -> str:
        """Return the factorisation, such as ``prod_groups q(effect | rows, mean)``."""
        return " ".join([f"prod_{self.unit.name}", *(self._words(n) for n in self._shown())])

    def descriptions(self) -> dict[str, str]:
        """Return each factor's family in words, by its names."""
        words = {}
        for name in self._shown():
            by = "by a network"
            if isinstance(self.columns, Summary):
                by += f" of rows {self.columns.description}"
            if name in self.steps:
                series, _ = self.steps[name]
                by = "by one network for all steps, which reads the rows from the last to this one"
                name = f"{series.names[0]}, ..., {series.names[-1]}"
            factor = cast(Factor, self.factors[self.keys[name.split(",")[0]]])
            words[name] = f"{factor.description}, {by}"
        return words

    def _shown(self) -> list[str]:
        """Return a name for each factor: of a series, that of a step like most others."""
        return [
            n for n in self.parents if n not in self.steps or self.steps[n][1] == self._typical(n)
        ]

    def _typical(self, name: str) -> int:
        series, _ = self.steps[name]
        return max((lag for _, lag in series.lags), default=0)

    def _words(self, name: str) -> str:
        given = [parent for parent, _ in self.parents[name] if parent is not None]
        dots = " ..." if name in self.steps else ""
        return f"q({name} | {', '.join(['rows', *given])}){dots}"

    def _kinds(self, names: Mapping[str, Any]) -> dict[str, int]:
        """Return a number for each latent of the unit alone, equal for those with equal supports."""
        kinds: dict[str, int] = {}
        alone = [n for n in names if self.latents[n].plates == (self.unit.name,)]
        for name in alone:
            mine = self.latents[name]
            equal = (
                kinds[other]
                for other in kinds
                if mine.coordinates.same_support(self.latents[other].coordinates, mine.scale.device)
            )
            kinds[name] = next(equal, len(kinds))
        return kinds

    def _read_by(self, name: str, parents: Sequence[str]) -> list[tuple[str | None, int]]:
        """Return what a factor reads with numbers of coordinates; None for steps before the first."""
        if name not in self.steps:
            return [(u, self._width(u)) for u in parents]
        series, t = self.steps[name]
        return [
            *((u, self._width(u)) for u in series.constants),
            *((of[t - k] if k <= t else None, self._width(of[0])) for of, k in series.lags),
        ]

    def _width(self, name: str) -> int:
        """Return the number of a latent's coordinates that a unit reads."""
        latent = self.latents[name]
        if self.unit.name not in latent.plates:
            return latent.size
        return latent.coordinates.size * prod(latent.cells_in(self.nesting, without=self.unit.dim))

    def _in_line(self, name: str, free: Tensor) -> Tensor:
        """Return coordinates ``particles, cells | D`` as ``particles, units | numbers``; shared: 1 unit."""
        batch = (1,) * (self.nesting + 1 - free.dim()) + tuple(free.shape[:-1])
        free = free.reshape(*batch, free.shape[-1])
        particles = batch[: len(batch) - self.nesting]
        if name not in self.parents:
            return free.reshape(*particles, 1, -1)
        free = free.movedim(self.unit.dim - 1, len(particles))
        return free.reshape(*particles, free.shape[len(particles)], -1)

    def _factor(self, name: str, kind: Callable[..., Factor], network: NetworkFactory) -> Factor:
        out_dim, of = self.columns.out_dim, [self.latents[name]]
        if name in self.steps:
            out_dim = cast(Steps, self.readers[self.keys[name]]).out_dim
            of = [self.latents[n] for n in self.steps[name][0].names]
        location = torch.stack([each.location for each in of]).mean(0)
        squares = [each.scale.square() + (each.location - location).square() for each in of]
        latent = self.latents[name]
        return kind(
            latent.coordinates,
            out_dim + sum(size for _, size in self.parents[name]),
            latent.cells_in(self.nesting, without=self.unit.dim),
            self.unit.dim,
            len(latent.cells),
            network,
            location,
            torch.stack(squares).mean(0).sqrt(),
        )


def _key(name: str, number: int) -> str:
    """Return a site's name as a module's, or a number where no module can have this name."""
    is_taken = name.startswith("site_") or hasattr(nn.ModuleDict(), name)
    return f"site_{number}" if "." in name or is_taken else name
