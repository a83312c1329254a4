"""The further columns of a comparison that ``--columns`` names."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pyro_vae.cli.run.fit_record import read_record
from pyro_vae.errors import unknown
from pyro_vae.inference.comparison.active_units import ActiveUnits
from pyro_vae.inference.comparison.column import Column
from pyro_vae.inference.comparison.epoch_seconds import EpochSeconds
from pyro_vae.inference.comparison.frechet_distance import FrechetDistance
from pyro_vae.inference.comparison.kernel_distance import KernelDistance
from pyro_vae.inference.comparison.loo import LOO
from pyro_vae.inference.comparison.parameters import Parameters
from pyro_vae.inference.comparison.precision_recall import PrecisionRecall
from pyro_vae.inference.comparison.rate_distortion import RateDistortion
from pyro_vae.inference.comparison.seconds import Seconds
from pyro_vae.inference.comparison.squared_error import MSE
from pyro_vae.inference.svi.run_storage import METRICS, read_metrics

Folders = Mapping[str, Path | str]  # of the runs, by the names that the table has


def _epoch_seconds(folders: Folders) -> Column:
    """Return the column of the seconds that an epoch of each run took, where its folder says so."""
    found = {}
    for name, folder in folders.items():
        record, done = read_record(Path(folder)), len(read_metrics(Path(folder, METRICS)))
        if record is not None and done:
            found[name] = record.seconds / done
    return EpochSeconds(found)


FURTHER: dict[str, Callable[[Folders], Column]] = {
    "elbo": lambda _: RateDistortion(),
    "frechet_distance": lambda _: FrechetDistance(),
    "kernel_distance": lambda _: KernelDistance(),
    "precision_recall": lambda _: PrecisionRecall(),
    "mse": lambda _: MSE(),
    "active_units": lambda _: ActiveUnits(),
    "parameters": lambda _: Parameters(),
    "epoch_seconds": _epoch_seconds,
    "seconds": lambda _: Seconds(),
    "loo": lambda _: LOO(),
}
ALL = "all"  # in --columns: every one but that of leave-one-out


def further_columns(names: str | None, folders: Folders, loo: bool = False) -> list[Column]:
    """Return the columns that are named with commas between, and that of leave-one-out.

    Args:
        names: of columns; None for none.
        folders: of the runs.
        loo: whether to add leave-one-out.

    Raises:
        InputError: a name is of no column.
    """
    given = chosen(names)
    return [FURTHER[name](folders) for name in dict.fromkeys([*given, *(["loo"] if loo else [])])]


def chosen(names: str | None) -> list[str]:
    """Return the names of columns that are given with commas between.

    >>> chosen("mse, loo")
    ['mse', 'loo']
    """
    given = [] if names is None else [name.strip() for name in names.split(",")]
    for name in given:
        if name not in FURTHER and name != ALL:
            raise unknown(f"there is no column {name!r}", name, FURTHER, subject="--columns")
    return [name for name in FURTHER if name != "loo"] if ALL in given else given
