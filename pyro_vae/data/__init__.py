"""Data sets by name, from files and from folders, and batches of them on a device."""

from pyro_vae.data.arguments import Argument
from pyro_vae.data.batching import Batch, Batches, OneCall, batches
from pyro_vae.data.columns.column import Column, Kind
from pyro_vae.data.finding import ROOT_VARIABLE, Listing, available
from pyro_vae.data.known import Remembered, facts_of, new_rows, remembered
from pyro_vae.data.loading import load
from pyro_vae.data.reading import Reading
from pyro_vae.data.rows import LazyRows
from pyro_vae.data.sets import DataSet
from pyro_vae.data.split import Split
from pyro_vae.data.treatment import Binarize
from pyro_vae.data.values import Encoding, ValueRange, filled_in

__all__ = [
    "ROOT_VARIABLE",
    "Argument",
    "Batch",
    "Batches",
    "Binarize",
    "Column",
    "DataSet",
    "Encoding",
    "Kind",
    "LazyRows",
    "Listing",
    "OneCall",
    "Reading",
    "Remembered",
    "Split",
    "ValueRange",
    "available",
    "batches",
    "facts_of",
    "filled_in",
    "load",
    "new_rows",
    "remembered",
]
