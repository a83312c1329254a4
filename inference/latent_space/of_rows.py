"""The result of ``latents``: the latents of each row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pyro_vae.data import Split
from pyro_vae.data.rows import row_numbers
from pyro_vae.errors import InputError, unknown
from pyro_vae.inference.latent_space.direction import Direction, difference
from pyro_vae.inference.latent_space.printed import number, text_table
from pyro_vae.inference.posterior.predictive import spread_evenly
from pyro_vae.inference.posterior.result import Posterior
from pyro_vae.inference.posterior.rows import Rows
from pyro_vae.notebook import table
from pyro_vae.program.site_layout import labels

SHOWN_ROWS, SHOWN_NUMBERS = 10, 4  # in print


@dataclass(frozen=True, eq=False, repr=False)
class Latents:
    """Hold the latents of N rows.

    Attributes:
        mean: posterior means by site, ``N | rest | event``.
        sd: posterior standard deviations, likewise.
        draws: ``draws, N | rest | event``, of all latents, also those whose values are classes.
        probabilities: of classes by site, ``N | rest, classes``.
        ess: effective sample size of the weights, (N,).
        pareto_k: of the weights, (N,); NaN where they do not differ.
        rows: the numbers of the rows in the data's file, from 0, (N,).
        ids: their names there, if it has any.
        labels: their classes, (N,), if it has any; -1 where it is unknown.
        class_names: names of the classes.
        notes: sentences that the reader should know.
    """

    mean: Mapping[str, Tensor]
    sd: Mapping[str, Tensor]
    draws: Mapping[str, Tensor]
    probabilities: Mapping[str, Tensor]
    ess: Tensor
    pareto_k: Tensor
    rows: Tensor
    ids: Sequence[str] | None = None
    labels: Tensor | None = None
    class_names: Sequence[str] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def with_keys(self, data: Any) -> "Latents":
        """Return the same with what a split says of its rows."""
        if not isinstance(data, Split):
            return self
        rows = self.rows if data.places is None else data.places
        keys: dict[str, Any] = {
            "ids": data.ids,
            "labels": data.labels,
            "class_names": data.class_names,
        }
        return replace(self, rows=rows, **keys)

    @property
    def columns(self) -> dict[str, Tensor]:
        """The figures of each row by heading, (N,): "z[0] mean", "z[0] sd", "which = 2", "ess", "k"."""
        found: dict[str, Tensor] = {}
        for name, mean in self.mean.items():
            sd = self.sd[name].reshape(len(self), -1).T
            numbers = zip(
                labels(name, mean.shape[1:]), mean.reshape(len(self), -1).T, sd, strict=True
            )
            for label, mean_of_one, sd_of_one in numbers:
                found |= {f"{label} mean": mean_of_one, f"{label} sd": sd_of_one}
        for name, shares in self.probabilities.items():
            flat = shares.reshape(len(self), -1).T
            places = labels(name, shares.shape[1:-1])
            heads = [f"{label} = {k}" for label in places for k in range(shares.shape[-1])]
            found |= dict(zip(heads, flat, strict=True))
        return found | {"ess": self.ess, "k": self.pareto_k}

    @property
    def drawn_columns(self) -> dict[str, Tensor]:
        """The draws of each row by heading, (N,): "z[0] draw 0"."""
        found: dict[str, Tensor] = {}
        for name, draws in self.draws.items():
            for draw, of_one in enumerate(draws):
                flat = of_one.reshape(len(self), -1).T
                heads = (f"{label} draw {draw}" for label in labels(name, of_one.shape[1:]))
                found |= dict(zip(heads, flat, strict=True))
        return found

    def code(self, sites: Sequence[str] | None = None) -> Tensor:
        """Return the posterior means of all numbers of a row as one vector, (N, D).

        Raises:
            InputError: there is no such latent.
        """
        names = list(self.mean) if sites is None else list(sites)
        for name in names:
            if name not in self.mean:
                raise unknown(f"there is no latent {name!r} here", name, self.mean, subject="sites")
        return torch.cat([self.mean[name].reshape(len(self), -1) for name in names], 1)

    def direction(self, labelled: Any, *, name: str = "") -> Direction:
        """Return an attribute's direction: the mean latents of rows that have it less those of the others.

        Args:
            labelled: a truth value for each row, or the numbers of the rows that have it (places here, not
                in the file), or the name of a class. Rows of unknown class are left out then.
            name: what to call it.

        Raises:
            InputError: there is no such class or row, or all rows have the attribute, or none.

        Source: A. B. L. Larsen, S. K. Sonderby, H. Larochelle, O. Winther, "Autoencoding beyond pixels
        using a learned similarity metric", 2016, https://arxiv.org/abs/1512.09300.

        >>> from pyro_vae import latents
        >>> from pyro_vae.models import FactorAnalysis
        >>> x = torch.randn(40, 3)
        >>> found = latents(FactorAnalysis((3,), 2), x, num_particles=50).direction(x[:, 0] > 0)
        >>> found.step["z"].shape
        torch.Size([2])
        """
        if isinstance(labelled, str):
            has, known = self._of_class(labelled)
            name = name or labelled
        else:
            index = row_numbers(labelled, len(self), "labelled")
            has, known = torch.zeros(len(self), dtype=torch.bool), torch.ones(len(self)).bool()
            has[index] = True
        return difference(self.mean, has, known & ~has, name or "the attribute")

    def _of_class(self, name: str) -> tuple[Tensor, Tensor]:
        """Return which rows are of a class, and which have a known one."""
        if self.labels is None:
            raise InputError(
                f"the data have no classes, so {name!r} is none",
                subject="labelled",
                expected="a truth value for each row",
            )
        names = self.class_names or [str(k) for k in range(int(self.labels.max()) + 1)]
        if name not in names:
            raise unknown(f"there is no class {name!r}", name, names, subject="labelled")
        return self.labels == list(names).index(name), self.labels >= 0

    def to_frame(self) -> Any:
        """Return the figures of all rows as a pandas DataFrame, by the number of the row in the file."""
        import pandas as pd

        columns = {name: column.numpy() for name, column in self.columns.items()}
        return pd.DataFrame(columns, index=pd.Index(self.rows.numpy(), name="row"))

    def __repr__(self) -> str:
        sites = {**self.mean, **self.probabilities}
        shapes = ", ".join(f"{name} {tuple(value.shape[1:])}" for name, value in sites.items())
        return f"Latents({len(self):,} rows of {shapes})"

    def __str__(self) -> str:
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join([self._caption(), "", text_table(self._printed()), *notes])

    def _repr_html_(self) -> str:
        headings, *rows = self._printed()
        return table(rows, headings, self._caption(), self.notes)

    def _caption(self) -> str:
        count = len(self.columns) - 2
        more = f", {2 * SHOWN_NUMBERS} of {count:,} figures" if count > 2 * SHOWN_NUMBERS else ""
        return f"the first of {len(self):,} rows{more}"

    def _printed(self) -> list[list[str]]:
        columns = self.columns
        shown = [*list(columns)[:-2][: 2 * SHOWN_NUMBERS], "ess", "k"]
        first: dict[str, Any] = {"row": self.rows}
        if self.ids is not None:
            first["id"] = self.ids
        first |= {name: columns[name] for name in shown}
        if self.labels is not None:
            first["class"] = self.labels
        cells = [[number(_plain(x)) for x in column[:SHOWN_ROWS]] for column in first.values()]
        return [list(first), *map(list, zip(*cells, strict=True))]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


def of_posterior(found: Posterior, num_draws: int) -> Latents:
    """Return the latents of a posterior's rows.

    Raises:
        InputError: the data have no rows, or these no latents.
    """
    rows = Rows.of(found)
    rows.check()
    if not rows.own:
        raise InputError(
            f"all rows share the latents {', '.join(map(repr, rows.shared))}, so no row has its own",
            subject="program",
            expected=f"a latent in the plate {rows.plate!r}",
            remedy="use pyro_vae.posterior, which has the latents that rows share",
        )
    chosen = spread_evenly(found.num_draws, num_draws)
    mean, sd, draws, probabilities = {}, {}, {}, {}
    for name in rows.own:
        axis = found.layouts[name].axis(rows.plate)
        assert axis is not None
        draws[name] = found.latents[name][chosen].movedim(axis, 1)
        if name in found.categories:
            probabilities[name] = found.probabilities(name).movedim(axis - 1, 0)
            continue
        z = found.particles[name].double()
        weights = found.weights(name, z.dim())
        of_site = (weights * z).sum(0)
        off = (z - of_site).square() * (len(z) / max(1, len(z) - 1))
        dtype = found.particles[name].dtype
        mean[name] = of_site.movedim(axis - 1, 0).to(dtype)
        sd[name] = (weights * off).sum(0).sqrt().movedim(axis - 1, 0).to(dtype)
    count = len(next(iter({**mean, **probabilities}.values())))
    notes = found.notes
    if rows.shared:
        shared = ", ".join(map(repr, rows.shared))
        notes = (*notes, f"all rows share {shared}: pyro_vae.posterior has them")
    ess, pareto_k = (figure.expand(count) for figure in (found.ess, found.pareto_k))
    return Latents(mean, sd, draws, probabilities, ess, pareto_k, torch.arange(count), notes=notes)


def joined(parts: Sequence[Latents]) -> Latents:
    """Return the rows of all parts, in their order."""
    first = parts[0]
    if len(parts) == 1:
        return first

    def together(field: str, dim: int = 0) -> dict[str, Tensor]:
        names = getattr(first, field)
        return {n: torch.cat([getattr(part, field)[n] for part in parts], dim) for n in names}

    return Latents(
        together("mean"),
        together("sd"),
        together("draws", 1),
        together("probabilities"),
        torch.cat([part.ess for part in parts]),
        torch.cat([part.pareto_k for part in parts]),
        torch.arange(sum(map(len, parts))),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )
