"""Whether a guide draws the model's latents, all of them and nothing else."""

from typing import cast

import torch
from pyro import poutine

from pyro_vae.errors import InputError, unknown
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    is_factor,
    is_point_mass,
    latent_sites,
    observed_sites,
)
from pyro_vae.program.wrappers import innermost


def check_match(model_trace: poutine.Trace, guide_trace: poutine.Trace) -> None:
    """Check that the guide draws the model's latents and nothing else.

    Raises:
        InputError: a site is on one side only, or the guide draws a site that is not latent in the model.
    """
    latents, proposed = latent_sites(model_trace), drawn_sites(guide_trace)
    for name, site in proposed.items():
        in_model = model_trace.nodes.get(name)
        if name in latents:
            if latents[name]["value"] is not site["value"]:
                raise InputError(
                    f"the model's site {name!r} does not take the guide's value", subject=name
                )
        elif in_model is not None:
            _check_computed(name, site, cast(Site, in_model))
        elif not site["infer"].get("is_auxiliary"):
            problem = f"the guide samples {name!r}, which is no latent of the model"
            raise unknown(problem, name, latents)
    for name, site in latents.items():
        if name not in proposed and site["infer"].get("enumerate") != "parallel":
            raise _missing(name, site["infer"].get("enumerate"))
    for name, site in observed_sites(guide_trace).items():
        if is_factor(site) and "has_rsample" not in vars(innermost(site["fn"])):
            raise InputError(
                f"the guide's factor {name!r} does not say what it is",
                subject=name,
                remedy="give it has_rsample=True if it is part of the guide's density (a Jacobian), "
                "has_rsample=False if it is a term of the training loss alone",
            )


def _missing(name: str, enumerate_: str | None) -> InputError:
    """Return the refusal of a latent that the guide does not draw and Pyro does not sum out."""
    if enumerate_:
        return InputError(
            f"the model's site {name!r} is marked enumerate={enumerate_!r}, and latents are summed out in "
            "parallel only",
            subject=name,
            remedy='mark it `infer={"enumerate": "parallel"}`',
        )
    return InputError(
        f"the model samples {name!r}, which the guide does not sample",
        subject=name,
        remedy=f"add `pyro.sample({name!r}, ...)` to the guide, or, if the latent is discrete, have it "
        'summed out by `infer={"enumerate": "parallel"}` in the model',
    )


def _check_computed(name: str, proposed: Site, in_model: Site) -> None:
    """Check that the guide only computes, and does not draw, a site that is not latent in the model."""
    if in_model["type"] == "sample" and not in_model["is_observed"]:  # a Delta
        if is_point_mass(proposed["fn"]) and torch.equal(proposed["value"], in_model["value"]):
            return
        verb = "computes (Delta)"
    elif in_model["type"] == "param":
        verb = "has as a parameter"
    elif in_model["type"] == "sample" and in_model["infer"].get("_deterministic"):
        if is_point_mass(proposed["fn"]):
            return  # an AutoGuide's record of it
        verb = "computes (pyro.deterministic)"
    else:
        verb = "observes (`obs=`, or `pyro.condition`)"
    raise InputError(
        f"the guide draws {name!r}, which the model {verb}, so the draw would count in the guide's density "
        "and not in the model's",
        subject=name,
        remedy="leave it out of the guide",
    )
