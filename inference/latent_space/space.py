"""The latents of rows at the guide's mean, and the model run there or anywhere else."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError, at_least, unknown
from pyro_vae.inference.posterior.at_draws import in_parts, named, placed, trace_of
from pyro_vae.inference.posterior.guide_mean import GuideMean
from pyro_vae.inference.posterior.posterior import posterior
from pyro_vae.inference.posterior.predictive import of_units
from pyro_vae.inference.posterior.result import Posterior
from pyro_vae.inference.posterior.rows import Rows
from pyro_vae.program.bound_program import BoundProgram, Handler
from pyro_vae.program.site_layout import SiteLayout

Point = Mapping[str, Tensor]
"""Latents of one row by site, ``rest | event``; of several points ``M | rest | event``."""
Read = Callable[[poutine.Trace], Mapping[str, Tensor]]
"""Takes values in the shapes of the program from a run of the model."""
check_row_number = partial(at_least, 0)


class _Somewhere(GuideMean):
    """Start at the prior's mean where a program has no guide: one can move from there, too."""

    rests_on_guide = False


@dataclass(frozen=True)
class LatentSpace:
    """Hold the latents of all rows at the guide's mean; they can be moved, one row at a time.

    Attributes:
        at_mean: a posterior of one draw: the guide's mean, and the most probable classes.
        rows: the rows of the data, and which latents they have for themselves.
    """

    at_mean: Posterior
    rows: Rows

    @classmethod
    def of(cls, program: Any, data: Any, **options: Any) -> "LatentSpace":
        """Run the guide at its means on all rows; the options are those of :func:`pyro_vae.posterior`.

        Raises:
            InputError: the program does not fit the data, or rows have no continuous latent of their own.
        """
        found = posterior(program, data, method=_Somewhere(), num_draws=1, **options)
        best = found.most_probable() if _sums_out(found) else {}
        space = cls(replace(found, particles={**found.particles, **best}), Rows.of(found))
        space.rows.check()
        if not space.continuous:
            kinds = "classes" if space.rows.own else "latents of their own"
            has = "only " + kinds if space.rows.own else "no " + kinds
            raise InputError(
                f"the rows have {has}, so there is no latent space to move through",
                subject="program",
                expected=f"a continuous latent in the plate {space.rows.plate!r} of the rows",
            )
        return space

    @cached_property
    def continuous(self) -> tuple[str, ...]:
        """The latents that can be moved: those of a row whose values are real numbers."""
        particles, classes = self.at_mean.particles, self.at_mean.categories
        return tuple(
            name
            for name in self.rows.own
            if name not in classes and particles[name].is_floating_point()
        )

    @property
    def num_rows(self) -> int:
        name = self.rows.own[0]
        return int(self.at_mean.particles[name].shape[self._axis(name)])

    def check_row(self, argument: str, row: Any) -> int:
        """Return the number of a row, from 0.

        Raises:
            InputError: there is no such row.
        """
        if check_row_number(argument, row) >= self.num_rows:
            raise InputError(
                f"{argument} is {row}, and the data have {self.num_rows:,} rows",
                subject=argument,
                expected=f"a row from 0 to {self.num_rows - 1}",
                remedy=f"pass {argument}={self.num_rows - 1} for the last one",
            )
        return int(row)

    def check_latents(self, latents: Any) -> tuple[str, ...]:
        """Return the names of latents that can be moved; all of them for None.

        Raises:
            InputError: there is no such latent.
        """
        names = self.continuous if latents is None else tuple(latents)
        for name in names:
            if name not in self.continuous:
                raise unknown(
                    f"{name!r} is no continuous latent of a row", name, self.continuous,
                    subject="latents",
                )  # fmt: skip
        return names

    def point(self, row: int) -> dict[str, Tensor]:
        """Return the latents of a row at the guide's mean."""
        values = self.at_mean.particles
        return {name: values[name][0].select(self._axis(name) - 1, row) for name in self.rows.own}

    def _axis(self, name: str) -> int:
        """Return the dimension of the rows among draws."""
        axis = self.at_mean.layouts[name].axis(self.rows.plate)
        assert axis is not None
        return axis

    @contextmanager
    def open(self, seed: int | None = 0) -> Iterator[Callable[[int], "OneRow"]]:
        """Open the program again; what is yielded gives the call of a row."""
        found = self.at_mean
        with found.source.open(seed) as tiles:

            def of_row(row: int) -> OneRow:
                example = tiles.example
                if found.unit is None or tiles.rows is None or not example.by_rows:
                    return OneRow(self, tiles[0], torch.arange(self.num_rows), row)
                number = next(n for n, index in enumerate(tiles.index) if row in index)
                place = (tiles.index[number] == row).nonzero()[0]
                return OneRow(self, _one_of(tiles[number], place), torch.tensor([row]), 0)

            yield of_row


def _one_of(call: BoundProgram, place: Tensor) -> BoundProgram:
    """Return the call for one of its units."""
    one = call.some(place)
    plates = {**one.structure.plates, str(one.structure.unit): 1}
    return replace(one, structure=replace(one.structure, plates=plates))


def _sums_out(found: Posterior) -> bool:
    """Return whether the model sums classes out, which the guide does not draw then."""
    if not found.categories:
        return False
    with found.source.open(0) as tiles:
        return bool(tiles.example.structure.enumerated)


@dataclass(frozen=True)
class OneRow:
    """Hold a call that has a row, whose latents can be moved while all others stay.

    Attributes:
        space: the latents at the guide's mean.
        call: the program on some rows.
        units: their numbers.
        place: the row's among them.
    """

    space: LatentSpace
    call: BoundProgram
    units: Tensor
    place: int

    @property
    def start(self) -> dict[str, Tensor]:
        """The row's continuous latents at the guide's mean, on the device of the call."""
        point = self.space.point(int(self.units[self.place]))
        return {n: point[n].to(self.call.device) for n in self.space.continuous}

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The positional arguments of the call."""
        return self.call.args

    def run(
        self, points: Point, read: Read, handler: Handler | None = None, sum_out: bool = False
    ) -> dict[str, Tensor]:
        """Run the model at M points, and return what ``read`` takes, ``M, plates | event``.

        Args:
            points: latents of the row, each ``M | rest | event``; those that are left out stay.
            read: takes values, in the shapes of the program, from the model's trace.
            handler: of the model, inside of the one that gives latents their values.
            sum_out: whether enumerated latents take all their values.
        """
        num = len(next(iter(points.values())))
        call, layouts = self.call, self.space.at_mean.layouts
        values = placed(self._values(points, num, sum_out), layouts, call)

        def run(count: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
            def at(model: Callable[..., Any]) -> Callable[..., Any]:
                inside = handler(model) if handler else model
                replayed: Callable[..., Any] = poutine.replay(inside, trace=trace_of(given))
                return replayed

            return dict(read(call.model(count, at, sum_out)))

        return in_parts(call, run, num, values)

    def of_sites(
        self, found: Mapping[str, Tensor], layouts: Mapping[str, SiteLayout], num: int
    ) -> Point:
        """Return the row's part of M values in the shapes of the program, ``M | rest | event``."""
        shaped = named(found, layouts, num, self.call)
        plate, parts = self.space.rows.plate, {}
        for name, value in shaped.items():
            axis = layouts[name].axis(plate)
            parts[name] = value if axis is None else value.select(axis, self.place)
        return parts

    def _values(self, points: Point, num: int, sum_out: bool) -> dict[str, Tensor]:
        """Return the latents of all rows of the call, ``M, plates | event``, with the row's moved."""
        space, found = self.space, self.space.at_mean
        latents = {n: z for n, z in found.particles.items() if n not in found.computed}
        if found.unit is not None:
            latents = of_units(found, latents, self.units)
        values = {}
        for name, z in latents.items():
            if sum_out and name in self.call.structure.enumerated:
                continue
            whole = z.expand(num, *z.shape[1:])
            if name in points:
                axis, moved = space._axis(name), points[name].to(z.device)
                parts = [whole.narrow(axis, 0, self.place), moved.unsqueeze(axis)]
                rest = whole.shape[axis] - self.place - 1
                whole = torch.cat([*parts, whole.narrow(axis, self.place + 1, rest)], axis)
            values[name] = whole
        return values
