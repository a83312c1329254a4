"""A guide for a model that has none."""

from collections.abc import Mapping
from typing import Any

import pyro
import torch

from pyro_vae.data import DataSet, batches
from pyro_vae.device import resolve
from pyro_vae.errors import report_user_errors
from pyro_vae.guides import AutoAmortized
from pyro_vae.guides.model_facts import without_guide
from pyro_vae.program.call_arguments import call_arguments
from pyro_vae.program.contract import signature
from pyro_vae.program.generators import generators_as_found

ROWS = 1_000  # with which the model is examined


def with_guide(
    program: Any,
    data: Any,
    device: str | torch.device,
    args: tuple[Any, ...] | None,
    kwargs: Mapping[str, Any] | None,
    seed: int,
) -> Any:
    """Return a program as it is, or a model that has no guide with one made from it.

    Args:
        program: a program, or a model, or an object with a model alone.
        data: as :func:`pyro_vae.fit` takes them, and ``device``, ``args`` and ``kwargs``.
        seed: of the guide's first weights.

    Raises:
        InputError: no guide can be made for this model.
    """
    if isinstance(program, tuple) or callable(getattr(program, "guide", None)):
        return program
    target = without_guide(program)
    call, named = tuple[Any, ...](), dict[str, Any]()
    if data is not None and args is None and kwargs is None:
        rows = batches(
            data.train if isinstance(data, DataSet) else data, resolve(device), signature(target)
        )
        count = min(rows.num_units, ROWS)
        call = next(rows.take(torch.arange(count), count))
        for module in target.modules.values():
            module.to(rows.device)
    else:
        call, named = call_arguments(data, args, kwargs)
    with generators_as_found(), report_user_errors():
        pyro.set_rng_seed(seed)
        return target.model, AutoAmortized(target.model, *call, **named)
