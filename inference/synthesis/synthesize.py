"""``synthesize``: rows that a model makes up, given some of their columns or not."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.data import BlankDataSet, Column, DataSet, Split, batches
from pyro_vae.data.columns.column import Kind
from pyro_vae.device import resolve
from pyro_vae.errors import InputError, at_least_1, unknown
from pyro_vae.inference.evidence.psis import bad_k, smooth_weights
from pyro_vae.inference.synthesis.as_in_file import as_in_file
from pyro_vae.inference.synthesis.conditions import check_in_range, given_numbers, known_row
from pyro_vae.inference.synthesis.given import draw_given
from pyro_vae.program.contract import Program, as_program, signature
from pyro_vae.program.prior_guide import with_prior_as_guide
from pyro_vae.progress import progress_bar

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

ROWS_AT_ONCE = 10_000
OVERSAMPLING = 20  # draws from the prior for each row that is given something

CHECKS: dict[str, checks.Check] = {
    "num": at_least_1,
    "where": checks.optional(checks.mapping),
    "oversampling": at_least_1,
    "seed": checks.seed,
}


@dataclass(frozen=True, eq=False)
class Synthesis:
    """Hold rows that a model made up.

    Attributes:
        x: ``rows | event``, in the units of the data.
        split: the rows that they take after.
        ess: effective number of the draws that the rows were chosen from; None where nothing was given.
        pareto_k: of their weights; above 0.7 a few draws decide, and rows recur.
    """

    x: Tensor
    split: Split
    ess: float | None = None
    pareto_k: float | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.x.shape[1:]))
        return f"Synthesis({len(self):,} rows of {shape}{self.weights_in_words()})"

    def weights_in_words(self) -> str:
        """Return the effective sample size and Pareto k in words; nothing where nothing was given."""
        if self.ess is None or self.pareto_k is None:
            return ""
        size = f"an effective sample size of {self.ess:,.0f}, Pareto k {self.pareto_k:.2f}"
        return f"; chosen from draws with {size}"

    def frame(self) -> "pd.DataFrame":
        """Return the rows as a table with the file's columns: their names, order, types and categories.

        Raises:
            InputError: the data are not a table.
        """
        import pandas as pd

        if self.split.columns is None or self.x.dim() != 2:
            raise InputError("the data are not a table, so there are no columns", subject="frame")
        cells = zip(self.split.columns, self.x.T.numpy(), strict=True)
        return pd.DataFrame({column.name: _cells(column, x) for column, x in cells})


def synthesize(
    program: Any,
    data: DataSet | Split,
    num: int = 1000,
    *,
    where: Mapping[str, Any] | None = None,
    label: str | int | None = None,
    oversampling: int = OVERSAMPLING,
    seed: int = 0,
    device: str | torch.device = "auto",
) -> Synthesis:
    """Draw new rows from a fitted model, as the file could have them.

    Latents come from the prior, and every observed value, a category too, is a draw. With ``where`` the
    rows are draws from p(x | x_where), by importance resampling: ``oversampling`` times as many latents as
    rows are drawn from the prior, weighted by p(x_where | z), the largest weights Pareto-smoothed, and
    ``num`` of them chosen with probabilities in proportion (systematic resampling).

    Args:
        program: a model and guide, or a model; the guide is not used.
        data: what the model was fitted to, as :func:`pyro_vae.load` returns it. Its training rows give the
            columns, their categories and ranges. A model that takes labels gets those of the rows in turn.
        num: number of rows.
        where: values of columns by their names in the file.
        label: the class of all rows, for a model that takes labels.
        oversampling: draws from the prior for each row, with ``where``.
        seed: of the draws; the same seed gives the same rows.
        device: where to compute. The rows are on the CPU.

    Raises:
        InputError: the model cannot be drawn from, or a column, a value of ``where`` or a label is unknown.

    Source: D. B. Rubin, "The calculation of posterior distributions by data augmentation: comment", 1987,
    https://doi.org/10.2307/2289460 (sampling/importance resampling); A. Vehtari et al., "Pareto smoothed
    importance sampling", 2024, https://arxiv.org/abs/1507.02646.

    >>> from pyro_vae import load
    >>> from pyro_vae.models import Table
    >>> wine = load("wine")
    >>> table = Table((14,), [0] * 13 + [3])
    >>> synthesize(table, wine, 5, where={"cultivar": "class_1"}).frame()["cultivar"].unique().tolist()
    ['class_1']
    """
    checks.check_arguments(CHECKS, locals())
    if not isinstance(data, DataSet | Split):
        raise InputError(
            f"data must be a data set or a split, not a {type(data).__name__}",
            subject="data",
            remedy="make one: pyro_vae.load reads a file",
        )
    split, place = data.train if isinstance(data, DataSet) else data, resolve(device)
    target = as_program(with_prior_as_guide(program))
    split = split if label is None else _with_label(split, target, label)
    drawing = _Drawing(target, split, place, label is not None)
    site, is_weighted = drawing.site()
    known, in_file = None, _InFile(split, isinstance(data, BlankDataSet))
    if where:
        given_in_file = given_numbers(split, where)
        known, in_file = known_row(split, given_in_file), in_file.given(given_in_file)
    pool = num * (oversampling if where or is_weighted else 1)
    generator = torch.Generator().manual_seed(seed)
    values, weights = [], []
    with progress_bar(pool, None, "rows") as bar:
        for start in range(0, pool, ROWS_AT_ONCE):
            rows = torch.arange(start, min(pool, start + ROWS_AT_ONCE))
            given = {} if known is None else {site: known.to(place).expand(len(rows), -1)}
            drawn, weight = drawing(rows, given, int(torch.randint(2**31, (), generator=generator)))
            values.append(drawn[site].cpu())
            weights.append(weight.cpu().expand(len(rows)))
            bar.update(len(rows))
    x = split.to_original(torch.cat(values))
    if pool == num:
        return Synthesis(in_file(x), split)
    chosen, ess, k = resample(torch.cat(weights), num, generator)
    return Synthesis(in_file(x[chosen]), split, ess, k)


@dataclass(frozen=True)
class _Drawing:
    """Draw rows of a program at a time; with ``keeps_labels`` given those of the split."""

    program: Program
    split: Split
    place: torch.device
    keeps_labels: bool

    def __call__(
        self, rows: Tensor, given: Mapping[str, Tensor], seed: int
    ) -> tuple[dict[str, Tensor], Tensor]:
        index = rows % len(self.split)
        batch = next(
            batches(self.split, self.place, signature(self.program)).take(index, len(index))
        )
        return draw_given(self.program, batch, given, seed, batch[1] if self.keeps_labels else None)

    def site(self) -> tuple[str, bool]:
        """Return the site that models the rows of the data, and whether the model draws the labels."""
        values, log_weight = self(torch.arange(2), {}, 0)
        fitting = [n for n, value in values.items() if value.shape[1:] == self.split.event_shape]
        if not fitting:
            raise InputError(
                f"no observed site of the model has rows of shape {tuple(self.split.event_shape)}",
                subject="model",
                expected="a model of whole rows",
            )
        return fitting[0], log_weight.dim() > 0


def _with_label(split: Split, program: Program, label: str | int) -> Split:
    """Return the rows with one label.

    Raises:
        InputError: the model takes no labels, or no row has this one.
    """
    takes = signature(program).number
    if split.labels is None or takes is None or takes < 2:
        raise InputError(
            "the model takes no labels" if split.labels is not None else "the data have no labels",
            subject="label",
            remedy="give a column of a table by where instead",
        )
    numbers = sorted(set(split.labels[split.labels >= 0].tolist()))
    names = {str(k) if split.class_names is None else split.class_names[k]: k for k in numbers}
    if str(label) not in names:
        raise unknown(f"no row has the label {str(label)!r}", str(label), names, subject="label")
    return replace(split, labels=torch.full_like(split.labels, names[str(label)]))


def _cells(column: Column, x: "npt.NDArray[np.float64]") -> Any:
    """Return a column as the file has it: words, dates, whole numbers or others."""
    if column.categories is not None or column.kind in (Kind.DATE, Kind.TIME):
        return list(column.decode(x))
    return x.astype(np.int64) if (x == x.round()).all() else x


@dataclass(frozen=True)
class _InFile:
    """Write drawn rows as the file could have them, with given numbers as they were given."""

    split: Split
    is_blank: bool  # the rows are not there, so their decimals and ranges are unknown
    numbers: Mapping[int, float] = field(default_factory=dict)

    def given(self, numbers: Mapping[int, float]) -> "_InFile":
        if not self.is_blank:
            check_in_range(self.split, numbers)
        return replace(self, numbers=numbers)

    def __call__(self, x: Tensor) -> Tensor:
        if self.split.columns is None or x.dim() != 2:
            return x
        x = x.double() if self.is_blank else as_in_file(x, self.split)
        for place, number in self.numbers.items():
            x[:, place] = number
        return x


def resample(
    log_weights: Tensor, num: int, generator: torch.Generator
) -> tuple[Tensor, float, float]:
    """Return the numbers of ``num`` draws, chosen in proportion to their weights; ESS; and Pareto k.

    Raises:
        InputError: no draw has a weight.
    """
    if not (log_weights > -torch.inf).any():
        raise InputError(
            "the model gives no draw with these values a probability above 0",
            subject="where",
            remedy="give fewer columns",
        )
    smoothed, k = smooth_weights(log_weights.unsqueeze(-1))
    weights = smoothed.squeeze(-1).exp()
    ess = float(1 / weights.square().sum())
    places = (torch.arange(num) + torch.rand((), generator=generator)) / num
    chosen = torch.searchsorted(weights.cumsum(0), places.double()).clamp(max=len(weights) - 1)
    return chosen[torch.randperm(num, generator=generator)], ess, float(k)


def is_poor(synthesis: Synthesis) -> bool:
    """Return whether a few draws decide what the rows are."""
    if synthesis.ess is None or synthesis.pareto_k is None:
        return False
    return synthesis.ess < len(synthesis) or synthesis.pareto_k > bad_k(10_000)
