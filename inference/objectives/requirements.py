"""What an objective may ask of a program, each refused in words where it is not there."""

from dataclasses import dataclass
from typing import Any

import torch.distributions
from pyro.infer import (
    RenyiELBO,
    ReweightedWakeSleep,
    Trace_ELBO,
    TraceGraph_ELBO,
    TraceMeanField_ELBO,
    TraceTailAdaptive_ELBO,
)

from pyro_vae.errors import InputError
from pyro_vae.program.examination import Examination
from pyro_vae.program.masks import has_mask
from pyro_vae.program.structure import Structure
from pyro_vae.program.trace import Site, drawn_sites, latent_sites
from pyro_vae.program.wrappers import inside

SUMS_NOTHING_OUT = Trace_ELBO | TraceGraph_ELBO | RenyiELBO | ReweightedWakeSleep
BY_DRAWS = TraceMeanField_ELBO | TraceTailAdaptive_ELBO  # gradients go through them
DEFAULT = "TraceEnum_ELBO, the default here,"


@dataclass(frozen=True)
class Seen:
    """A run of guide and model, and how they are laid out."""

    structure: Structure
    proposed: dict[str, Site]  # the guide's sites
    latents: dict[str, Site]  # the model's

    def must_be_reparameterised(self, objective: str) -> None:
        """Gradients go through the draws."""
        for name, site in self.proposed.items():
            if not site["fn"].has_rsample:
                if site["infer"].get("enumerate"):
                    raise InputError(
                        f"{objective} needs gradients through the draws, and the guide's site {name!r} is "
                        f"discrete and marked to be summed out: {DEFAULT} does that; WakeSleep draws it"
                    )
                raise InputError(
                    f"{objective} needs gradients through the draws, which the guide's site {name!r} has "
                    f"none of ({_kind(site['fn'])}): draw it from a reparameterised distribution (a "
                    "relaxed one, say), have it summed out "
                    '(`infer={"enumerate": "parallel"}` in the model alone), '
                    "or use WakeSleep, which needs none"
                )

    def must_hold_whole_units(self, objective: str) -> None:
        """A bound by logarithms of sums needs each unit's weight whole."""
        if self.structure.subsampled:
            plate = self.structure.subsampled[0]
            whose = (
                "the unit" if self.structure.unit is None else f"the unit {self.structure.unit!r}"
            )
            raise InputError(
                f"{objective} needs whole weights, and plate {plate!r} within {whose} is subsampled, so "
                f"that the figure would be no bound: give {plate!r} all its rows (a batch_size of all, no "
                "subsample_size), or use TraceELBO"
            )

    def must_score_copies(self, objective: str) -> None:
        """The guide scores a value that is not the very tensor it drew."""
        for name, site in self.proposed.items():
            try:
                site["fn"].log_prob(site["value"].clone())
            except Exception as error:  # as a transform without an inverse raises
                raise InputError(
                    f"{objective} scores draws again, and the guide's site {name!r} scores only what it "
                    f"has just drawn ({_kind(site['fn'])} by a transform without an inverse): use "
                    "TraceELBO, or a flow with an inverse"
                ) from error

    def must_tell_prior_from_likelihood(self, objective: str) -> None:
        if not (self.latents or self.proposed or self.structure.enumerated):
            raise InputError(
                f"{objective} weighs prior and likelihood apart, and this program has no latent site: use "
                "TraceELBO"
            )
        if self.structure.enumerated:
            raise InputError(
                f"{objective} weighs prior and likelihood apart, and {self.structure.enumerated[0]!r} is "
                "summed out of both together: use an ELBO or IWAE, or a mixture for a distribution"
            )

    def must_be_one_vector(self, objective: str) -> str:
        """The one latent vector that each unit has; its site's name."""
        names = [*dict.fromkeys([*self.latents, *self.proposed])]
        wanted = f"{objective} needs one latent vector a unit"
        if self.structure.unit is None:
            raise InputError(
                f"{wanted}, and no plate holds every site"
                + (
                    f" ({', '.join(map(repr, self.structure.outside))} lie outside)"
                    * bool(self.structure.outside)
                )
                + ": put a plate over the data around all of them"
            )
        if not names:
            raise InputError(f"{wanted}, and this program has no latent site: use TraceELBO")
        if len(names) > 1:
            raise InputError(
                f"{wanted}, and there are {len(names)} latent sites: {', '.join(map(repr, names))}: join "
                "them into one, or use TraceELBO"
            )
        (name,) = names
        for site in (self.latents[name], self.proposed.get(name, self.latents[name])):
            if self.structure.max_plate_nesting != 1 or site["fn"].event_dim != 1:
                raise InputError(
                    f"{wanted}, and site {name!r} has batch shape {tuple(site['fn'].batch_shape)} and "
                    f"event shape {tuple(site['fn'].event_shape)}: make it a vector by "
                    "`.to_event(1)`, under the data's plate alone"
                )
            if has_mask(site):
                raise InputError(
                    f"{objective} compares the latent vectors of a batch, and site {name!r} is masked, so "
                    "that padding would count: give it data without padding, or use TraceELBO"
                )
        return name

    def must_be_independent(self, objective: str, name: str) -> None:
        """The guide says a vector's numbers one by one."""
        fn = self.proposed[name]["fn"]
        if factors(fn) is None:
            raise InputError(
                f"{objective} needs a guide whose numbers are independent given the data, and site "
                f"{name!r} is a {_kind(fn)}: use `.to_event(1)` of a distribution of "
                "numbers (MeanFieldNormal)"
            )

    def must_reach_all_draws(self, objective: str, name: str) -> None:
        """The guide for one datum gives each number of another's draw a probability."""
        site = self.proposed[name]
        try:
            reached = factors(site["fn"]).log_prob(site["value"].unsqueeze(1)).isfinite().all()
        except ValueError:  # a check of torch's
            reached = False
        if not reached:
            raise InputError(
                f"{objective} compares the data's guides, and at site {name!r} the one of a datum does not "
                f"reach the draws of another ({_kind(site['fn'])}): use a guide of the same support for all"
            )


def check_of_pyro(elbo: Any, examined: Examination) -> list[str]:
    """What is to be said of an ELBO of Pyro's that sums no site out, where one is marked to be.

    :raises InputError: it cannot do without, or has no gradient through the draws that it needs.
    """
    if not isinstance(elbo, SUMS_NOTHING_OUT):
        return []
    objective, structure = type(elbo).__name__, examined.structure
    if structure.enumerated:
        raise InputError(
            f"{objective} sums no site out, and {structure.enumerated[0]!r} is to be: the guide does not "
            f"draw it. {DEFAULT} does"
        )
    if isinstance(elbo, BY_DRAWS):
        see(examined).must_be_reparameterised(objective)
    return [
        f"{objective} draws {name!r}, which is marked to be summed out, and its gradient is noisy: "
        f"{DEFAULT} sums it out"
        for name in structure.marked[:1]
    ]


def see(examined: Examination) -> Seen:
    structure, model = examined.structure, latent_sites(examined.model)
    given = {n: s for n, s in model.items() if n not in structure.enumerated}
    return Seen(structure, drawn_sites(examined.guide), given)


def factors(fn: Any) -> Any:
    """The distribution of each number of an event, where they are independent; else None.

    >>> import pyro.distributions as dist
    >>> factors(dist.Normal(torch.zeros(5, 3), 1.0).to_event(1)).batch_shape
    torch.Size([5, 3])
    """
    base = inside(fn, torch.distributions.Independent)
    return base if base is not fn and not base.event_shape else None


def _kind(fn: Any) -> str:
    return type(inside(fn)).__name__
