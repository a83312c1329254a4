"""What a reader returns: rows as stored, and how they fall into splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.data.columns.column import Column
from pyro_vae.data.rows import Rows, select_names, subset
from pyro_vae.errors import InputError


@dataclass(frozen=True, eq=False)
class SourceRows:
    """Hold rows as stored (N | event), and for each its label, its place in the file, its name.

    ``id_name`` is the name of the column that the names come from. ``factors`` (N, F) are what rows were
    drawn from, where that is known.
    """

    x: Rows
    labels: Tensor | None = None
    places: Tensor | None = None  # (N,), from 0; None where rows are in the file's order
    ids: Sequence[str] | None = None  # N
    id_name: str | None = None
    factors: Tensor | None = None

    def __len__(self) -> int:
        return len(self.x)

    def subset(self, index: Tensor) -> "SourceRows":
        """Return the rows numbered ``index``."""
        labels = None if self.labels is None else self.labels[index]
        places = index if self.places is None else self.places[index]
        ids = None if self.ids is None else select_names(self.ids, index)
        factors = None if self.factors is None else self.factors[index]
        return SourceRows(subset(self.x, index), labels, places, ids, self.id_name, factors)


@dataclass(frozen=True, eq=False)
class Source:
    """Hold a pool of rows to train and validate on, and the test rows.

    The last ``num_validation`` rows of the pool are the set's own validation rows. ``levels`` is the
    number of grey levels, where the values do not show it. ``remarks`` say how the file was read, where
    another way is possible. ``pixels`` says, for arrays, whether whole numbers are grey levels.
    """

    pool: SourceRows
    num_validation: int
    test: SourceRows
    class_names: Sequence[str] | None = None
    columns: Sequence[Column] | None = None
    levels: int | None = None
    remarks: Sequence[str] = ()
    pixels: bool | None = None
    factor_columns: Sequence[Column] | None = None  # of what rows were drawn from


def shuffled_source(
    rows: SourceRows,
    seed: int,
    *,
    num_test: int | None = None,
    class_names: Sequence[str] | None = None,
    columns: Sequence[Column] | None = None,
    levels: int | None = None,
    remarks: Sequence[str] = (),
    pixels: bool | None = None,
    factor_columns: Sequence[Column] | None = None,
) -> Source:
    """Return rows without splits in an order drawn from ``seed``, a tenth each to test and to validate."""
    num_test = max(1, len(rows) // 10) if num_test is None else num_test
    order = permutation(len(rows), seed)
    pool, test = rows.subset(order[:-num_test]), rows.subset(order[-num_test:])
    return Source(
        pool, num_test, test, class_names, columns, levels, remarks, pixels, factor_columns
    )


def split_source(
    rows: SourceRows,
    sizes: Mapping[str, int],
    *,
    class_names: Sequence[str] | None = None,
    remarks: Sequence[str] = (),
    pixels: bool | None = None,
) -> Source:
    """Return rows that lie split by split: ``train``, perhaps ``validation``, ``test``."""
    index, num_test = torch.arange(len(rows)), sizes["test"]
    pool, test = rows.subset(index[:-num_test]), rows.subset(index[-num_test:])
    num_validation = sizes.get("validation", 0)
    return Source(pool, num_validation, test, class_names, remarks=remarks, pixels=pixels)


def divide_rows(source: Source, validation: float | int | None, seed: int) -> dict[str, SourceRows]:
    """Return the splits by name.

    Args:
        source: the pool and the test rows.
        validation: how many of the pool's rows, or which fraction, to draw from ``seed``; None takes the
            set's own validation rows.
        seed: of the draw.

    Raises:
        InputError: ``validation`` is negative, or leaves no row to train on.
    """
    pool, number = source.pool, source.num_validation
    if validation is not None:
        is_fraction = isinstance(validation, float)
        if not 0 <= validation < (1 if is_fraction else max(1, len(pool))):
            raise InputError(
                f"validation={validation} does not fit {len(pool):,} rows",
                subject="validation",
                expected=f"0, a number below {len(pool)}, or a fraction below 1.0",
                remedy="pass validation=0.1, say",
            )
        number = int(validation * len(pool)) if is_fraction else int(validation)
        pool = pool.subset(permutation(len(pool), seed))
    if number >= len(pool):
        raise InputError(
            f"the data have too few rows ({len(pool) + len(source.test)})",
            subject="rows",
            expected="one each for training, validation and test",
            remedy="pass validation=0 for none, or add rows" if len(pool) else "add rows",
        )
    rows = torch.arange(len(pool))
    splits = {"train": pool.subset(rows[: len(pool) - number])}
    if number:
        splits["validation"] = pool.subset(rows[len(pool) - number :])
    return splits | {"test": source.test}


def permutation(size: int, seed: int) -> Tensor:
    """Return an order of ``size`` rows that depends on ``seed`` alone."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))
