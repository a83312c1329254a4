"""What `fit` chooses for a table: its model, and how long it is fitted."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyro_vae.models
from pyro_vae.cli.options.parser import take_options
from pyro_vae.data import DataSet
from pyro_vae.data.readers.find import is_table
from pyro_vae.errors import InputError
from pyro_vae.inference.svi.minibatching import DEFAULT_BATCH_SIZE

STEPS, STEPS_OF_PATIENCE, MIN_EPOCHS = 5_000, 200, 10


def model_for_table(words: Sequence[str], config: Mapping[str, Any]) -> type:
    """Return the model of data that are a table.

    Raises:
        InputError: they are not.
    """
    named, _ = take_options(words, "--data".__eq__)
    if not is_table(str(named[-1][1] if named else config.get("data"))):
        raise InputError(
            "there is no model to fit",
            subject="--model",
            remedy="name one, --model VAE, or your own class, --model MODULE.CLASS; a table has a "
            "default, Table",
        )
    return pyro_vae.models.Table


def length_for_table(config: Mapping[str, Any], data: DataSet) -> dict[str, Any]:
    """Return how long a Table is fitted, where the user leaves it open.

    The figures in validation have no Monte-Carlo error, so a fit of few rows can stop early.
    """
    steps = math.ceil(len(data.train) / (config["batch_size"] or DEFAULT_BATCH_SIZE))
    found: dict[str, Any] = {}
    if config["epochs"] is None:
        wanted, least = (STEPS, MIN_EPOCHS) if config["steps"] is None else (config["steps"], 1)
        found |= {"epochs": max(least, math.ceil(wanted / steps)), "steps": None}
    if config["patience"] is None and data.validation is not None:
        found["patience"] = max(MIN_EPOCHS, math.ceil(STEPS_OF_PATIENCE / steps))
    return found
