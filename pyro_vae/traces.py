"""One call of a model or guide, as the sites that it reached."""

import re
from collections.abc import Callable
from typing import Any, cast

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor

from pyro_vae.errors import InputError

Site = dict[str, Any]

# of a parameter, before all of its values; torch.distributions' words
INVALID = re.compile(
    r"Expected parameter (\w+) .*? of distribution (\w+)\(.*\) to satisfy the constraint (.*),"
    r" but found invalid values:"
)

FLAT = (
    "it has no evidence, and nothing can be drawn from it (ImproperUniform); a proper prior, as a VAE "
    "has, would have both"
)


def run(part: str, function: Callable[..., Any], args: Any, kwargs: Any) -> poutine.Trace:
    """The trace of one call; an error in it names the part and the site that was reached."""
    tracer = poutine.trace(function)
    try:
        return tracer.get_trace(*args, **kwargs)
    except InputError as error:  # Pyro has written its trace below the sentence
        raise InputError(str(error).split("\n")[0]) from error
    except Exception as error:
        if isinstance(error, NotImplementedError) and "ImproperUniform" in str(error):
            raise InputError(f"a prior of the {part} is flat: {FLAT}") from error
        sites = list(sample_sites(tracer.trace))
        where = f"after site {sites[-1]!r}" if sites else "before its first site"
        shapes = ", ".join(str(tuple(a.shape)) for a in args if isinstance(a, Tensor))
        reason = (
            INVALID.sub(r"some values of \1 in a \2 are not \3", str(error)).strip().split("\n")[0]
        )
        raise InputError(
            f"the {part} raised {type(error).__name__} {where}: {reason}"
            + (f" (called with tensors of shape {shapes})" if shapes else "")
            + _not_finite(args)
        ) from error


def _not_finite(args: Any) -> str:
    for tensor in args:
        if isinstance(tensor, Tensor) and not torch.isfinite(tensor).all():
            first = (~torch.isfinite(tensor)).nonzero()[0].tolist()
            return f"; the data hold {tensor[tuple(first)]:g}, first at index {tuple(first)}"
    return ""


def sample_sites(trace: poutine.Trace) -> dict[str, Site]:
    """The sample statements of a trace, without plates' subsampling and deterministic sites."""
    sites = cast(dict[str, Site], trace.nodes)
    return {
        name: site
        for name, site in sites.items()
        if site["type"] == "sample"
        and not isinstance(site["fn"], _Subsample)
        and not site["infer"].get("_deterministic")
    }


def latent_sites(trace: poutine.Trace) -> dict[str, Site]:
    return {n: s for n, s in sample_sites(trace).items() if not s["is_observed"]}


def observed_sites(trace: poutine.Trace) -> dict[str, Site]:
    return {n: s for n, s in sample_sites(trace).items() if s["is_observed"]}


def declared_events(fn: Any) -> int:
    """How many of the leftmost event dimensions ``to_event`` made, with masks in between or not."""
    count = 0
    while isinstance(fn, dist.Independent | dist.MaskedDistribution):
        count += getattr(fn, "reinterpreted_batch_ndims", 0)
        fn = fn.base_dist
    return count


def check_proper(model_trace: poutine.Trace) -> None:
    """:raises InputError: a latent has no distribution that it could be drawn from."""
    for name, site in latent_sites(model_trace).items():
        if isinstance(site["fn"], dist.ImproperUniform):
            raise InputError(f"the prior of {name!r} is flat: {FLAT}")
