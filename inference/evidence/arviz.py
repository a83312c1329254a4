"""The export of an evidence to ArviZ."""

from typing import Any

import numpy as np

from pyro_vae.inference.evidence.result import Evidence

STATISTICS = (
    "standard_error", "ess", "pareto_k", "smoothed", "jackknife", "upper", "upper_error",
)  # fmt: skip


def to_arviz(evidence: Evidence) -> Any:
    """Return an evidence for ArviZ (:meth:`pyro_vae.inference.evidence.result.Evidence.to_arviz`)."""
    import arviz  # takes seconds to import

    def with_draws(name: str) -> Any:  # (chain, draw, unit)
        return getattr(evidence, name).detach().cpu().numpy()[None, None]

    available = [name for name in STATISTICS if getattr(evidence, name) is not None]
    groups = {
        "log_likelihood": {"log_evidence": with_draws("log_evidence")},
        "sample_stats": {name: with_draws(name) for name in available},
    }
    attrs = {
        "inference_library": "pyro_vae",
        "method": evidence.method,
        "num_particles": evidence.num_particles,
        "unit": evidence.unit or "",  # the file formats of ArviZ have no None
        "is_unbiased": int(evidence.is_unbiased),  # nor bool
        "is_exact": int(evidence.is_exact),
    }
    names: dict[str, Any] = {
        "coords": {"unit": np.arange(evidence.num_units)},
        "dims": {name: ["unit"] for name in ("log_evidence", *available)},
    }
    from_dict: Any = arviz.from_dict
    if int(arviz.__version__.partition(".")[0]) < 1:
        return from_dict(**groups, **names, attrs=attrs)
    return from_dict(groups, **names, attrs={"/": attrs})
