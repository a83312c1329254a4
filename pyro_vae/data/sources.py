"""What a reader gives, before any treatment, and how it falls into splits."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae.data.columns.column import Column
from pyro_vae.data.rows import Rows, chosen, subset
from pyro_vae.errors import InputError


@dataclass(frozen=True, eq=False)
class Part:
    """Rows as stored (N | event), and what belongs to each: its label, its place in the file, its name.

    ``id_name`` is what the names' column is called.
    """

    x: Rows
    labels: Tensor | None = None
    places: Tensor | None = None  # (N,), from 0; None where rows are in the file's order
    ids: Sequence[str] | None = None  # N
    id_name: str | None = None

    def __len__(self) -> int:
        return len(self.x)

    def subset(self, index: Tensor) -> "Part":
        labels = None if self.labels is None else self.labels[index]
        places = index if self.places is None else self.places[index]
        ids = None if self.ids is None else chosen(self.ids, index)
        return Part(subset(self.x, index), labels, places, ids, self.id_name)


@dataclass(frozen=True, eq=False)
class Source:
    """A pool of rows to train and validate on, and the rows kept for the test.

    The last ``num_validation`` rows of the pool are the set's own validation rows. ``levels`` is
    the number of grey levels where it is not to be found out from the values. ``remarks`` say how the file
    was read, where it could be read otherwise. ``pixels`` says, of arrays, whether whole numbers are grey
    levels.
    """

    pool: Part
    num_validation: int
    test: Part
    class_names: Sequence[str] | None = None
    columns: Sequence[Column] | None = None
    levels: int | None = None
    remarks: Sequence[str] = ()
    pixels: bool | None = None


def shuffled(
    rows: Part,
    seed: int,
    *,
    num_test: int | None = None,
    class_names: Sequence[str] | None = None,
    columns: Sequence[Column] | None = None,
    levels: int | None = None,
    remarks: Sequence[str] = (),
    pixels: bool | None = None,
) -> Source:
    """Rows without splits of their own: in an order drawn from ``seed``, a tenth for the test and
    as many for validation.
    """
    num_test = max(1, len(rows) // 10) if num_test is None else num_test
    order = permutation(len(rows), seed)
    pool, test = rows.subset(order[:-num_test]), rows.subset(order[-num_test:])
    return Source(pool, num_test, test, class_names, columns, levels, remarks, pixels)


def divide(source: Source, validation: float | int | None, seed: int) -> dict[str, Part]:
    """The splits by name. A number or a fraction of the pool's rows, where ``validation`` gives
    one, is drawn from ``seed``; else the set's own validation rows are taken. None is no split.

    :raises InputError: ``validation`` is negative, or nothing is left to train on.
    """
    pool, number = source.pool, source.num_validation
    if validation is not None:
        fraction = isinstance(validation, float)
        if not 0 <= validation < (1 if fraction else len(pool)):
            raise InputError(
                f"validation={validation} does not fit {len(pool):,} rows that are not for the "
                "test: give a number of rows below that, a fraction below 1.0, or 0 for none"
            )
        number = int(validation * len(pool)) if fraction else int(validation)
        pool = pool.subset(permutation(len(pool), seed))
    elif number >= len(pool):
        raise InputError(
            f"too few rows ({len(pool) + len(source.test)}): training, validation and test need one each"
        )
    rows = torch.arange(len(pool))
    parts = {"train": pool.subset(rows[: len(pool) - number])}
    if number:
        parts["validation"] = pool.subset(rows[len(pool) - number :])
    return parts | {"test": source.test}


def permutation(size: int, seed: int) -> Tensor:
    """An order of ``size`` rows that depends on ``seed`` alone."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed))
