"""A datum that was handed over without its batch dimension, as ``x[0]`` where ``x[0:1]`` is meant."""

from typing import Any

from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.program.trace import Site, is_factor, observed_sites


class OneDatum(InputError):
    """The data are one datum: their first dimension is one of its own, and counts no data."""

    def __init__(self, tensor: Tensor, why: str) -> None:
        super().__init__(
            f"data of shape {tuple(tensor.shape)} are one datum without its batch dimension: {why}; pass "
            "x[None] (or x[0:1] in place of x[0])"
        )


def check_batch_dimension(model_trace: poutine.Trace, args: Any) -> None:
    """Refuses data that each unit of a plate observes as a whole.

    :raises OneDatum: a plate is as long as the first dimension of the data, and a site in it observes all
        their values without having that dimension.
    """
    tensors = [a for a in args if isinstance(a, Tensor) and a.dim()]
    for name, site in observed_sites(model_trace).items():
        for tensor in tensors if not is_factor(site) else ():
            plate = _plate_without_own_values(site, tensor)
            if plate is not None:
                raise OneDatum(
                    tensor,
                    f"plate {plate!r} takes the first dimension for {len(tensor)} data, and site {name!r} "
                    "observes all values as one of them",
                )


def _plate_without_own_values(site: Site, data: Tensor) -> str | None:
    """The plate as long as the data that a site lies in, where the site's values are the same for each."""
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
