"""How a file is to be read, where a person says so; and what was made of it, in words."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields

from pyro_vae.data.arguments import Asked, columns_named
from pyro_vae.data.columns.column import Kind
from pyro_vae.errors import InputError

_FOR = {
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


@dataclass(frozen=True)
class Reading:
    """What a person says of a file; None leaves it to what the file looks like.

    :param label: the column of a table, or the array of an archive, that holds the labels.
    :param unseen: the label that stands for one that was not seen.
    :param array: the array of an archive that holds the rows.
    :param arguments: columns by the names of the model's parameters that they are given to.
    :param columns: the columns of a table that are read, in this order.
    :param kinds: of columns by name, what their values are.
    :param id: the column that names the rows: no model sees it, and outputs repeat it.
    :param separator: what stands between the cells of a text file.
    :param decimal: what stands before the decimals in it, ``.`` or ``,``.
    :param header: whether its first line names the columns.
    :param missing: whether values may be missing; or else the values that stand for a missing one.
    :param pixels: whether whole numbers from 0 to 255 are grey levels, which a model sees as k/255.
    :param image_size: height and width of the images in a folder.
    :param seed: of the order of rows that have no splits.
    """

    label: str | None = None
    unseen: str | None = None
    array: str | None = None
    arguments: Asked | None = None
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
            object.__setattr__(self, "columns", columns_named(self.arguments))

    @property
    def codes(self) -> tuple[str | float, ...]:
        """The values that stand for a missing one."""
        return () if isinstance(self.missing, bool) else tuple(self.missing)

    @property
    def takes_gaps(self) -> bool:
        """Whether values may be missing."""
        return self.missing is not False

    def check_only(self, known: Collection[str], what: str) -> None:
        """:raises InputError: something is said that no reader of ``what`` can use."""
        unsaid = Reading()
        for option in fields(self):
            said = getattr(self, option.name)
            if said != getattr(unsaid, option.name) and option.name not in {
                *known,
                "seed",
                "missing",
            }:
                raise InputError(
                    f"{option.name} is for {_FOR[option.name]}, and {what} has no use for "
                    f"{option.name}={said!r}: leave it out"
                )
