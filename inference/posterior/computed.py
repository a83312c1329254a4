"""What the model computes from its latents and names: the values of its deterministic sites."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from pyro import poutine
from torch import Tensor

from pyro_vae.inference.posterior.at_draws import Values, each_particle, placed, trace_of
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.site_layout import SiteLayout
from pyro_vae.program.trace import Site


def computed_in(example: BoundProgram) -> dict[str, SiteLayout]:
    """Return the layouts of what a program computes; with units of their own, of what their plate holds."""
    guide_trace, model_trace = example.one()
    if (
        example.structure.enumerated
    ):  # there computed values have a dimension for each latent's values
        single = example.single()
        model_trace = single.model(1, lambda model: poutine.replay(model, trace=guide_trace))
    layouts = {name: _layout(site) for name, site in _computed_sites(model_trace).items()}
    unit = example.structure.unit
    return {n: layout for n, layout in layouts.items() if unit is None or unit in layout.plates}


def _computed_sites(model_trace: poutine.Trace) -> dict[str, Site]:
    """Return the deterministic sites of a model (``pyro.deterministic``) that hold tensors."""
    sites = cast(dict[str, Site], model_trace.nodes)
    return {
        name: site
        for name, site in sites.items()
        if site["type"] == "sample"
        and site["infer"].get("_deterministic")
        and isinstance(site["value"], Tensor)
    }


def _layout(site: Site) -> SiteLayout:
    """Return the layout of a site; without ``event_dim=`` Pyro takes all dimensions for the event's."""
    layout, value = SiteLayout.of(site), site["value"]
    if layout.event_dim < value.dim():
        return layout
    sizes = {f.dim: f.size for f in site["cond_indep_stack"] if f.vectorized}
    if len(value.shape) == -min(layout.dims, default=0) and all(
        value.shape[dim] == size for dim, size in sizes.items()
    ):
        return replace(layout, event_dim=0)
    return SiteLayout((), (), value.dim())


def compute(
    bound_program: BoundProgram,
    layouts: Mapping[str, SiteLayout],
    particles: Values,
    computed: Mapping[str, SiteLayout],
) -> dict[str, Tensor]:
    """Return the values of computed sites at particles of the latents, ``K | plates | event``.

    Each particle is a run by itself, at once by vmap where that works: the dimensions of a computed value
    are known for a single run alone.
    """
    single = replace(bound_program.single(), by_vmap=True)

    def run(count: int, given: dict[str, Tensor]) -> dict[str, Tensor]:
        trace = single.model(count, lambda model: poutine.replay(model, trace=trace_of(given)))
        sites = cast(dict[str, Site], trace.nodes)
        return {name: sites[name]["value"] for name in computed}

    num_particles = len(next(iter(particles.values())))
    values = each_particle(single, run, num_particles, placed(particles, layouts, single))
    return {
        name: computed[name].named(value, num_particles, single.structure, has_plate=False)
        for name, value in values.items()
    }
