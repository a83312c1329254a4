"""Whether a guide draws, and counts, as many numbers as the model's latents have."""

from collections.abc import Mapping

import torch

from pyro_vae.errors import InputError
from pyro_vae.program.masks import mask_of
from pyro_vae.program.probe import Traces
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import Site, drawn_sites, is_point_mass, latent_sites, shape_of
from pyro_vae.program.unconstrained import num_coordinates, num_counted


def check_every_value_is_drawn(traces: Traces) -> None:
    """Check that a guide does not draw one value of a latent where the model has several.

    Raises:
        InputError: it does.
    """
    proposed = drawn_sites(traces.guide)
    for name, site in latent_sites(traces.model).items():
        wanted = shape_of(site["fn"]).numel()
        if name in proposed and site["value"].numel() < wanted:
            stack = [frame.name for frame in site["cond_indep_stack"] if frame.vectorized]
            plates = f"put it into plate {', '.join(map(repr, stack))}" if stack else ""
            shape = f"shape {tuple(shape_of(site['fn']))}"
            raise InputError(
                f"the guide draws {site['value'].numel()} of the {wanted} numbers of the model's site "
                f"{name!r}, which would have to share them",
                subject=name,
                expected=f"a draw of {shape}",
                remedy=f"{plates or f'give it {shape}'} in the guide, too",
            )


def check_spread(
    structure: Structure, guide: Mapping[str, Site], model: Mapping[str, Site]
) -> None:
    """Check that the guide draws as many numbers as the model's latents have.

    It may put latents at points, with log-densities, if it draws the numbers at auxiliary sites.

    Raises:
        InputError: a latent is at a single point, or the numbers are more or fewer.
    """
    computed = {name for name, site in model.items() if is_point_mass(site["fn"])}
    guide = {name: site for name, site in guide.items() if name not in computed}
    points = [name for name, site in guide.items() if is_point_mass(site["fn"])]
    auxiliary = [name for name, site in guide.items() if site["infer"].get("is_auxiliary")]
    if points and not any(name not in points for name in auxiliary):
        raise InputError(
            f"the guide puts {points[0]!r} at a single point (Delta), as AutoDelta and "
            "AutoLaplaceApproximation do; such a guide finds a mode, and has no draws to weigh",
            subject=points[0],
            remedy="use another guide, such as AutoNormal",
        )
    if not auxiliary:
        return
    drawn = [name for name in guide if name not in points]
    latents = [name for name in structure.latents if name not in structure.enumerated]
    has = sum(num_coordinates(name, guide[name], structure) for name in drawn)
    wanted = sum(num_coordinates(name, model[name], structure) for name in latents)
    if has != wanted:
        raise InputError(
            f"the guide draws {has} numbers ({', '.join(map(repr, drawn[:5]))}) where the model's latents "
            f"are {wanted} numbers: no bijection maps one onto the other, so the density of a draw is not "
            "known and no weight can be formed",
            subject=auxiliary[0],
            expected=f"{wanted} numbers",
            remedy="draw as many, or write the guide's sites directly",
        )


def check_masks(structure: Structure, guide: Mapping[str, Site], model: Mapping[str, Site]) -> None:
    """Check that masks let the same draws count in the guide's density as in the model's.

    All draws count of a latent whose prior the model leaves out.

    Raises:
        InputError: a mask differs.
    """
    latents = [n for n in structure.latents if n in guide and n not in structure.without_prior]
    points = [name for name in latents if is_point_mass(guide[name]["fn"])]
    for name in latents:
        mask = mask_of(guide[name])
        if name not in points or not mask.all():
            _check_same_mask(name, bool((mask == mask_of(model[name])).all()))
    if points:
        drawn = (name for name in guide if not is_point_mass(guide[name]["fn"]))
        none = torch.zeros(())
        has = sum((num_counted(name, guide[name], structure) for name in drawn), start=none)
        wanted = sum((num_counted(name, model[name], structure) for name in latents), start=none)
        apart = [name for name in structure.without_prior if name in guide]
        wanted += sum(num_coordinates(n, model[n], structure) for n in apart) / structure.num_units
        _check_same_mask(points[0], bool(((has - wanted).abs() < 0.5).all()))


def _check_same_mask(name: str, is_same: bool) -> None:
    if not is_same:
        raise InputError(
            f"model and guide mask site {name!r} differently, so draws that one of them leaves out have no "
            "weight",
            subject=name,
            remedy="use the same `poutine.mask` in both",
        )
