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


@dataclass(frozen=True)
class ReadOptions:
    """Hold what the user says about a file; None means that the file decides.

    Args:
        label: the column of a table, or the array of an archive, that holds the labels.
        unseen: the label that means that a row's label is unknown.
        array: the array of an archive that holds the rows.
        arguments: columns by the names of the model's parameters that they are given to.
        columns: the columns of a table that are read, in this order.
        kinds: the kinds of columns, by their names.
        id: the column that names the rows: no model sees it, and outputs repeat it.
        separator: the character between the cells of a text file.
        decimal: the decimal mark of a text file, ``.`` or ``,``.
        header: whether its first line names the columns.
        missing: whether values may be missing; or the values that stand for a missing one.
        pixels: whether whole numbers from 0 to 255 are grey levels, which a model sees as k/255.
        image_size: height and width of the images in a folder.
        seed: of the order of rows that have no splits.
    """

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
