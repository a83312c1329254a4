"""The export of results to ArviZ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyro_vae.inference.evidence.result import Evidence

STATISTICS = (
    "log_evidence", "standard_error", "ess", "pareto_k", "smoothed", "jackknife", "upper",
    "upper_error",
)  # fmt: skip


def inference_data(
    groups: Mapping[str, Mapping[str, Any]],
    dims: Mapping[str, Sequence[str]],
    coords: Mapping[str, Any],
    attrs: Mapping[str, Any],
) -> Any:
    """Return an ``InferenceData`` of ArviZ, from ArviZ 1.0 on a ``DataTree``.

    Args:
        groups: arrays by name, by group; those of draws are ``chain, draw, ...``.
        dims: the names of each array's further dimensions.
        coords: the names of the places along them.
        attrs: of the whole; the file formats of ArviZ have neither None nor bool.
    """
    import arviz  # takes seconds to import

    from_dict: Any = arviz.from_dict
    names: dict[str, Any] = {"coords": dict(coords), "dims": {n: list(d) for n, d in dims.items()}}
    if int(arviz.__version__.partition(".")[0]) < 1:
        return from_dict(**groups, **names, attrs=dict(attrs))
    return from_dict(dict(groups), **names, attrs={"/": dict(attrs)})


def to_arviz(evidence: Evidence) -> Any:
    """Return an evidence for ArviZ (:meth:`pyro_vae.inference.evidence.result.Evidence.to_arviz`)."""
    available = [name for name in STATISTICS if getattr(evidence, name) is not None]
    attrs = {
        "inference_library": "pyro_vae",
        "method": evidence.method,
        "num_particles": evidence.num_particles,
        "unit": evidence.unit or "",
        "is_unbiased": int(evidence.is_unbiased),
        "is_exact": int(evidence.is_exact),
    }
    return inference_data(
        {
            "sample_stats": {  # (chain, draw, unit)
                name: getattr(evidence, name).detach().cpu().numpy()[None, None]
                for name in available
            }
        },
        {name: ["unit"] for name in available},
        {"unit": np.arange(evidence.num_units)},
        attrs,
    )
