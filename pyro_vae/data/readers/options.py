"""The options that say how a file is read."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields

from pyro_vae.data.columns.arguments import ColumnsByArgument, argument_columns
from pyro_vae.data.columns.column import Kind
from pyro_vae.errors import InputError

_APPLY_TO = {
    "label": "tables and archives of arrays",
    "unseen": "tables and archives of arrays",
    "array": "archives of arrays",
    "arguments": "tables",
    "columns": "tables and .h5ad files",
    "kinds": "tables",
    "id": "tables",
    "separator": "tables of text",
    "decimal": "tables of text",
    "header": "tables of text",
    "pixels": "arrays",
    "image_size": "folders of images and celeba",
}
_FOR_ALL = {"seed", "missing"}
OF_TABLES = frozenset({"label", "unseen", "arguments", "columns", "kinds", "id"})


@dataclass(frozen=True)
class ReadOptions:
    """Hold the options of :func:`load` that say how a file is read; None means that the file decides."""

    label: str | None = None
    unseen: str | None = None
    array: str | None = None
    arguments: ColumnsByArgument | None = None
    columns: Sequence[str] | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    id: str | None = None
    separator: str | None = None
    decimal: str | None = None
    header: bool | None = None
    missing: bool | Sequence[str | float] = False
    pixels: bool | None = None
    image_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.arguments is not None and self.columns is None:
            object.__setattr__(self, "columns", argument_columns(self.arguments))

    @property
    def na_values(self) -> tuple[str | float, ...]:
        """The values that stand for a missing one."""
        return () if isinstance(self.missing, bool) else tuple(self.missing)

    @property
    def allows_missing(self) -> bool:
        """Whether values may be missing."""
        return self.missing is not False

    def check_options(self, known: Collection[str], what: str) -> None:
        """Check that the reader of ``what`` knows each option that the user gives.

        Raises:
            InputError: it does not know one.
        """
        defaults = ReadOptions()
        for option in fields(self):
            name, value = option.name, getattr(self, option.name)
            if value != getattr(defaults, name) and name not in known and name not in _FOR_ALL:
                raise InputError(
                    f"{name}={value!r} does not apply to {what}",
                    subject=name,
                    expected=_APPLY_TO[name],
                    remedy=f"leave {name} out",
                )
