"""An evidence as ArviZ takes it."""

from typing import Any

import numpy as np

from pyro_vae.inference.evidence.result import Evidence

STATISTICS = (
    "standard_error", "ess", "pareto_k", "smoothed", "jackknife", "upper", "upper_error",
)  # fmt: skip


def to_arviz(evidence: Evidence) -> Any:
    """See :meth:`pyro_vae.inference.evidence.result.Evidence.to_arviz`."""
    import arviz  # takes seconds to import

    def drawn(name: str) -> Any:  # (chain, draw, unit)
        return getattr(evidence, name).detach().cpu().numpy()[None, None]

    known = [name for name in STATISTICS if getattr(evidence, name) is not None]
    groups = {
        "log_likelihood": {"log_evidence": drawn("log_evidence")},
        "sample_stats": {name: drawn(name) for name in known},
    }
    attrs = {
        "inference_library": "pyro_vae",
        "method": evidence.method,
        "num_particles": evidence.num_particles,
        "unit": evidence.unit or "",  # no file format of ArviZ's has None
        "is_unbiased": int(evidence.is_unbiased),  # nor bool
        "is_exact": int(evidence.is_exact),
    }
    names: dict[str, Any] = {
        "coords": {"unit": np.arange(evidence.units)},
        "dims": {name: ["unit"] for name in ("log_evidence", *known)},
    }
    from_dict: Any = arviz.from_dict
    if int(arviz.__version__.partition(".")[0]) < 1:
        return from_dict(**groups, **names, attrs=attrs)
    return from_dict(groups, **names, attrs={"/": attrs})
