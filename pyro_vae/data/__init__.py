"""Data sets by name, from files and from folders, and batches of them on a device."""

from pyro_vae.data.batching.batches import Batch, Batches, OneCall
from pyro_vae.data.batching.of_data import batches
from pyro_vae.data.columns.arguments import Argument
from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.data.data_set import DataSet
from pyro_vae.data.loading import load
from pyro_vae.data.metadata import BlankDataSet, blank_data_set, metadata_of
from pyro_vae.data.other_data import new_rows
from pyro_vae.data.preprocessing import Binarize
from pyro_vae.data.readers.find import ROOT_VARIABLE, AvailableSet, available
from pyro_vae.data.readers.options import ReadOptions
from pyro_vae.data.rows import LazyRows
from pyro_vae.data.split import Split
from pyro_vae.data.values import Encoding, ValueRange, filled_in

__all__ = [
    "ROOT_VARIABLE",
    "Argument",
    "AvailableSet",
    "Batch",
    "Batches",
    "Binarize",
    "BlankDataSet",
    "Column",
    "DataSet",
    "Encoding",
    "Kind",
    "LazyRows",
    "OneCall",
    "ReadOptions",
    "Split",
    "ValueRange",
    "available",
    "batches",
    "blank_data_set",
    "filled_in",
    "load",
    "metadata_of",
    "new_rows",
]
