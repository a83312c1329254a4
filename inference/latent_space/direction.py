"""Attribute directions: the step in the latent space from rows without an attribute to rows with it."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.latent_space.printed import number, text_table
from pyro_vae.notebook import table
from pyro_vae.program.site_layout import labels

HEADINGS = ["latent", "step", "±"]


@dataclass(frozen=True, eq=False, repr=False)
class Direction:
    """Hold the mean of labelled rows less the mean of unlabelled ones.

    Attributes:
        name: of the attribute.
        step: the difference of the means by site, ``rest | event``.
        standard_error: of each number of it, from the spread of the rows.
        counts: how many rows have the attribute, and how many do not.
    """

    name: str
    step: Mapping[str, Tensor]
    standard_error: Mapping[str, Tensor]
    counts: tuple[int, int]

    def __repr__(self) -> str:
        length = sum(float(step.square().sum()) for step in self.step.values()) ** 0.5
        return f"Direction({self.caption}, length {length:.3g})"

    def __str__(self) -> str:
        return "\n".join([self.caption, "", text_table([HEADINGS, *self._rows()])])

    def _repr_html_(self) -> str:
        return table(self._rows(), HEADINGS, self.caption)

    @property
    def caption(self) -> str:
        return f"{self.name}: {self.counts[0]:,} rows with it, {self.counts[1]:,} without"

    def _rows(self) -> list[list[str]]:
        rows = []
        for name, step in self.step.items():
            errors = self.standard_error[name].flatten().tolist()
            numbers = zip(labels(name, step.shape), step.flatten().tolist(), errors, strict=True)
            rows += [[label, number(value), number(error)] for label, value, error in numbers]
        return rows


def difference(means: Mapping[str, Tensor], has: Tensor, lacks: Tensor, name: str) -> Direction:
    """Return the direction from the rows that lack an attribute to those that have it.

    Raises:
        InputError: there are no rows with it, or none without it.
    """
    counts = int(has.sum()), int(lacks.sum())
    if min(counts) == 0:
        which = "no row has it" if counts[0] == 0 else "every row has it"
        raise InputError(
            f"{name} gives no direction, as {which}",
            subject="labelled",
            expected="rows with the attribute and rows without it",
        )
    step, error = {}, {}
    for site, z in means.items():
        with_it, without = z[has].double(), z[lacks].double()
        step[site] = (with_it.mean(0) - without.mean(0)).to(z.dtype)
        error[site] = torch.full_like(z[0], torch.nan)
        if min(counts) > 1:
            spread = with_it.var(0) / counts[0] + without.var(0) / counts[1]
            error[site] = spread.sqrt().to(z.dtype)
    return Direction(name, step, error, counts)
