"""A datum that was passed without its batch dimension: ``x[0]`` in place of ``x[0:1]``."""

from typing import Any

from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.trace import Site, is_factor, observed_sites


class OneDatum(InputError):
    """Report data that are one datum: their first dimension does not count data."""

    def __init__(self, tensor: Tensor, reason: str) -> None:
        super().__init__(
            f"data of shape {tuple(tensor.shape)} are one datum without its batch dimension: {reason}",
            subject="data",
            remedy="pass x[None] (or x[0:1] in place of x[0])",
        )


def check_batch_dimension(model_trace: poutine.Trace, args: Any) -> None:
    """Check that no unit of a plate observes the data as a whole.

    Raises:
        OneDatum: a plate is as long as the data's first dimension, and a site in it observes all their
            values without having that dimension.
    """
    tensors = [a for a in args if isinstance(a, Tensor) and a.dim()]
    for name, site in observed_sites(model_trace).items():
        for tensor in tensors if not is_factor(site) else ():
            plate = _plate_of_copies(site, tensor)
            if plate is not None:
                raise OneDatum(
                    tensor,
                    f"plate {plate!r} takes the first dimension for {len(tensor)} data, and site {name!r} "
                    "observes all values as one of them",
                )


def _plate_of_copies(site: Site, data: Tensor) -> str | None:
    """Return the plate around a site, as long as the data, in which all units observe the same values."""
    value: Tensor = site["value"]
    if value.numel() != data.numel() or data.numel() == 1:
        return None
    batch = value.shape[: value.dim() - site["fn"].event_dim]
    frames = {frame.dim: frame for frame in site["cond_indep_stack"] if frame.vectorized}
    wide = {dim for dim in range(-len(batch), 0) if batch[dim] > 1}
    plates = {dim: frame.name for dim, frame in frames.items() if frame.size == len(data)}
    if not plates or not wide <= frames.keys() or wide & plates.keys():
        return None
    if len(data) == 1 and any(len(batch) >= -dim for dim in plates):
        return None
    return next(iter(plates.values()))
