"""The path from a guide to the posterior."""

from typing import Any, cast

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.annealing.paths import AnnealingPath
from pyro_vae.inference.checks.density import check_map
from pyro_vae.inference.checks.spread import check_masks
from pyro_vae.inference.checks.support import check_known, check_support
from pyro_vae.program.auxiliary import at_latents, has_auxiliary
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    is_point_mass,
    latent_sites,
    proposal_sites,
    sample_sites,
)
from pyro_vae.program.unconstrained import Coordinates, Placement, num_coordinates

FROM_PRIOR = 'anneal from the prior (start="prior")'


class FromGuide(AnnealingPath):
    """The path from q(z | x) to p(x, z).

    The coordinates are those of the guide's own random sites. Where a guide draws an auxiliary variable
    and passes a bijection of it to the model as a Delta with a log-density, as Pyro's AutoGuides do,
    chains move in that variable; the Delta's log-density is the Jacobian.
    """

    def __init__(self, bound_program: BoundProgram) -> None:
        self.bound_program = bound_program
        trace = bound_program.guide(1)
        latents = self._continuous_latents(trace)
        check_known(latents)
        self.coordinates = Coordinates(latents, bound_program.structure, bound_program.vectorized)
        self._check_start(trace)
        self._fixed = trace if self._sites_are_independent(trace) else None
        self.check_vmap()

    def coordinates_of(self, latents: poutine.Trace) -> Tensor:
        guide = self.bound_program.guide(1)
        if has_auxiliary(guide):
            priors = latent_sites(self.bound_program.model(1))
            values = {name: drawn_sites(latents)[name]["value"] for name in priors}
            try:
                trace = at_latents(self.bound_program, guide, values, priors, 1)
            except InputError as error:
                raise InputError(
                    error.problem, subject=error.subject, expected=error.expected, remedy=FROM_PRIOR
                ) from error
        else:
            trace = self.bound_program.guide(1, lambda guide: poutine.replay(guide, latents))
        return self.coordinates.of(sample_sites(trace))

    def _draw(self, num_chains: int) -> Tensor:
        return self.coordinates.of(sample_sites(self.bound_program.guide(num_chains)))

    def _log_densities(self, u: Tensor) -> tuple[Tensor, Tensor]:
        placement = Placement(self.coordinates, u)
        guide = self._trace_at(placement, len(u))
        joint = self.bound_program.joint(len(u), guide)
        sites = proposal_sites(guide)
        deltas = {name: s for name, s in sites.items() if name not in self.coordinates.blocks}
        latents = {name: sites[name] for name in self.coordinates.blocks}
        start = self._score(latents, len(u)) + placement.log_jacobian
        end = self._score_model(joint, len(u)) + placement.log_jacobian
        return start, end - self._score(deltas, len(u))

    def _trace_at(self, placement: Placement, num_chains: int) -> poutine.Trace:
        if self._fixed is None:
            return self.bound_program.guide(num_chains, placement)
        trace = poutine.Trace()  # the encoder has read each datum once already
        for name, site in drawn_sites(self._fixed).items():
            trace.nodes[name] = cast(Any, {**site, "value": placement.place(name, site["fn"])})
        return trace

    def _continuous_latents(self, trace: poutine.Trace) -> dict[str, Site]:
        return {n: s for n, s in drawn_sites(trace).items() if not is_point_mass(s["fn"])}

    def _sites_are_independent(self, trace: poutine.Trace) -> bool:
        """Return whether no site's distribution changes with the values of the others."""
        sites, others = proposal_sites(trace), proposal_sites(self.bound_program.guide(1))
        if any(s["is_observed"] for s in sites.values()):  # a Jacobian
            return False
        if sites.keys() != others.keys() or any(is_point_mass(s["fn"]) for s in sites.values()):
            return False
        try:
            return all(
                torch.equal(
                    site["fn"].log_prob(site["value"]), others[name]["fn"].log_prob(site["value"])
                )
                for name, site in sites.items()
            )
        except Exception:  # a distribution may score only its last draw
            return False

    def _check_start(self, guide_trace: poutine.Trace) -> None:
        model_sites = sample_sites(self.bound_program.joint(1, guide_trace))
        guide_sites, structure = drawn_sites(guide_trace), self.bound_program.structure
        latents = [name for name in structure.latents if name not in structure.enumerated]
        latent_dims = sum(num_coordinates(n, model_sites[n], structure) for n in latents)
        guide_dims = sum(
            num_coordinates(n, guide_sites[n], structure) for n in self.coordinates.blocks
        )
        if guide_dims != latent_dims:
            masses = [name for name in latents if is_point_mass(guide_sites[name]["fn"])]
            reason = f"gives {', '.join(map(repr, masses))} a point mass and so " if masses else ""
            raise InputError(
                f"the guide {reason}has a density over {guide_dims} dimensions, the model's latents over "
                f"{latent_dims}: no path leads from it",
                subject=[*masses, *latents, *self.coordinates.blocks][0],
                remedy=FROM_PRIOR,
            )
        for name in latents:
            if name in self.coordinates.blocks:
                covers = guide_sites[name]["infer"].get("covers_posterior", False)
                other = "estimate the evidence by importance sampling" if covers else FROM_PRIOR
                check_support(name, guide_sites[name], model_sites[name], alternative=other)
        check_masks(structure, guide_sites, model_sites)
        check_map(self.bound_program)
