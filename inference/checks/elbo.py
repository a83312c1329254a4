"""Whether the training figure is the ELBO of a program."""

from typing import Any

import torch
from torch import nn

from pyro_vae.program.examination import Examination
from pyro_vae.program.trace import Site, drawn_sites, plate_scale, sample_sites, training_terms
from pyro_vae.program.wrappers import inside


def reasons_for_no_elbo(examined: Examination, loss_is_pyros: bool) -> list[str]:
    """Return why the training figure is not the ELBO of this program, in sentences.

    Args:
        examined: the program.
        loss_is_pyros: whether Pyro computes the loss, which counts all sites of the guide.
    """
    terms = [*training_terms(examined.guide)] if loss_is_pyros else []
    reasons = [
        f"the guide's site {name!r} counts in the training loss and not in the guide's density"
        for name in terms[:1]
    ]
    reasons += [
        f"the model masks the prior of {name!r}, which counts in Pyro's sum over its values"
        for name in examined.structure.without_prior
        if name in examined.structure.enumerated
    ][:1]
    sites = {**sample_sites(examined.guide), **sample_sites(examined.model)}
    reasons += [
        f"site {name!r} is weighted in training (poutine.scale)"
        for name, site in sites.items()
        if not _is_scaled_by_plates_alone(site)
    ][:1]
    reasons += [
        f"while it is trained, the guide's site {name!r} draws by one map and scores by another (a batch "
        "normalisation)"
        for name, site in drawn_sites(examined.guide).items()
        if not _scores_its_draws(site["fn"])
    ]
    return [f"{reason}, so the training figure is not called an ELBO" for reason in reasons]


def _is_scaled_by_plates_alone(site: Site) -> bool:
    scale = torch.as_tensor(site["scale"], dtype=torch.float64)
    return bool(((scale - plate_scale(site)).abs() <= 1e-6 * scale.abs()).all())


def _scores_its_draws(fn: Any) -> bool:
    """Return whether, in training mode, a distribution's transforms invert to its base's draws."""
    fn = inside(fn)
    learnt = [t for t in getattr(fn, "transforms", ()) if isinstance(t, nn.Module)]
    buffers = [b for t in learnt for b in t.buffers()]
    if not buffers:  # training and evaluation are the same
        return True
    modes, values = [t.training for t in learnt], [b.clone() for b in buffers]
    try:
        for transform in learnt:
            transform.train()
        with torch.no_grad():
            base = fn.base_dist.sample()
            there = base
            for transform in fn.transforms:
                there = transform(there)
            back = there.clone()
            for transform in reversed(fn.transforms):
                back = transform.inv(back)
    except Exception:  # a transform without an inverse remembers its last draw
        return True
    finally:
        for transform, mode in zip(learnt, modes, strict=True):
            transform.train(mode)
        for buffer, value in zip(buffers, values, strict=True):
            buffer.copy_(value)
    return torch.allclose(back, base, rtol=1e-3, atol=1e-3)
