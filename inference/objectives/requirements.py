"""What objectives require of a program; each refusal names the site and a remedy."""

from collections.abc import Sequence
from dataclasses import dataclass, field
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
from pyro_vae.program.trace import Site, drawn_sites, is_factor, latent_sites, observed_sites
from pyro_vae.program.wrappers import inside

WITHOUT_ENUMERATION = Trace_ELBO | TraceGraph_ELBO | RenyiELBO | ReweightedWakeSleep
REPARAMETERISED = TraceMeanField_ELBO | TraceTailAdaptive_ELBO  # gradients go through the draws
DEFAULT = "TraceEnum_ELBO, the default here,"


@dataclass(frozen=True)
class ProgramSites:
    """Hold the sites of guide and model from one run on ``args``, and their structure."""

    structure: Structure
    guide: dict[str, Site]
    model: dict[str, Site]
    observed: dict[str, Site] = field(default_factory=dict)
    args: tuple[Any, ...] = ()

    def require_reparameterised(self, objective: str) -> None:
        """Require gradients through the draws."""
        for name, site in self.guide.items():
            if not site["fn"].has_rsample:
                needs = f"{objective} needs gradients through the draws"
                if site["infer"].get("enumerate"):
                    raise InputError(
                        f"{needs}, and the guide's site {name!r} is discrete and marked to be summed out",
                        subject=name,
                        remedy=f"{DEFAULT} sums it out; WakeSleep draws it",
                    )
                raise InputError(
                    f"{needs}, and {_kind(site['fn'])} at the guide's site {name!r} has none",
                    subject=name,
                    remedy="draw it from a reparameterised distribution (such as a relaxed one), have it "
                    'summed out (`infer={"enumerate": "parallel"}` in the model alone), or use WakeSleep',
                )

    def require_whole_units(self, objective: str) -> None:
        """Require each unit's weight whole: a bound takes logarithms of sums of weights."""
        if self.structure.subsampled:
            plate, unit = self.structure.subsampled[0], self.structure.unit
            raise InputError(
                f"{objective} needs whole weights, and plate {plate!r} within the unit"
                f"{'' if unit is None else f' {unit!r}'} is subsampled, so its figure would not be a bound",
                subject=plate,
                remedy=f"give {plate!r} all its rows (a batch_size of all, no subsample_size), or use "
                "TraceELBO",
            )

    def require_rescoring(self, objective: str) -> None:
        """Require a guide that scores a copy of the value that it drew."""
        for name, site in self.guide.items():
            try:
                site["fn"].log_prob(site["value"].clone())
            except Exception as error:  # as a transform without an inverse raises
                raise InputError(
                    f"{objective} scores draws again, and the guide's site {name!r} scores only its last "
                    f"draw ({_kind(site['fn'])} by a transform without an inverse)",
                    subject=name,
                    remedy="use TraceELBO, or a flow with an inverse",
                ) from error

    def require_separate_prior(self, objective: str) -> None:
        """Require latents whose prior is not summed out together with the likelihood."""
        apart, enumerated = "weighs prior and likelihood apart", self.structure.enumerated
        if not (self.model or self.guide or enumerated):
            raise InputError(
                f"{objective} {apart}, and this program has no latent site",
                subject=objective,
                remedy="use TraceELBO",
            )
        if enumerated:
            raise InputError(
                f"{objective} {apart}, and {enumerated[0]!r} is summed out of both together",
                subject=enumerated[0],
                remedy="use an ELBO or IWAE, or a mixture for a distribution",
            )

    def require_one_vector(self, objective: str) -> str:
        """Require one latent vector for each unit, and return the name of its site."""
        names = [*dict.fromkeys([*self.model, *self.guide])]
        needs = f"{objective} needs one latent vector a unit"
        if self.structure.unit is None:
            outside = ", ".join(map(repr, self.structure.outside))
            raise InputError(
                f"{needs}, and no plate holds every site"
                + f" ({outside} lie outside)" * bool(outside),
                subject=next(iter(self.structure.outside), objective),
                remedy="put a plate over the data around all of them",
            )
        if not names:
            raise InputError(
                f"{needs}, and this program has no latent site",
                subject=objective,
                remedy="use TraceELBO",
            )
        if len(names) > 1:
            raise InputError(
                f"{needs}, and there are {len(names)} latent sites: {', '.join(map(repr, names))}",
                subject=names[0],
                remedy="join them into one, or use TraceELBO",
            )
        (name,) = names
        for site in (self.model[name], self.guide.get(name, self.model[name])):
            self._check_vector(name, site, needs)
        return name

    def _check_vector(self, name: str, site: Site, needs: str) -> None:
        fn = site["fn"]
        if self.structure.max_plate_nesting != 1 or fn.event_dim != 1:
            raise InputError(
                f"{needs}, and site {name!r} has batch shape {tuple(fn.batch_shape)} and event shape "
                f"{tuple(fn.event_shape)}",
                subject=name,
                expected="an event shape of one dimension, under the data's plate alone",
                remedy="make it a vector by `.to_event(1)`",
            )
        if has_mask(site):
            raise InputError(
                f"{needs}, and compares those of a batch; site {name!r} is masked, so padding would count",
                subject=name,
                remedy="give data without padding, or use TraceELBO",
            )

    def require_prior_draws(self, objective: str) -> None:
        """Require latents whose prior can be drawn from."""
        for name, site in self.model.items():
            try:
                site["fn"].sample()
            except NotImplementedError as error:
                raise InputError(
                    f"{objective} compares with draws of the prior, and the model's site "
                    f"{name!r} cannot be drawn from ({type(site['fn']).__name__})",
                    subject=name,
                    remedy="give it a prior such as a Normal",
                ) from error

    def require_drawn_data(self, objective: str, by_mean: bool) -> None:
        """Require data of units that the model can draw, with gradients, or that have a mean."""
        needs = f"{objective} compares the data of units with draws of the model"
        if self.structure.unit is None or not self.observed:
            raise InputError(
                f"{needs}, and " + ("the model observes nothing" * (not self.observed)
                or "no plate holds every site"),
                subject=objective,
                remedy="put a plate over the data around all sites, and observe the data in it",
            )  # fmt: skip
        for name, site in self.observed.items():
            if has_mask(site):
                raise InputError(
                    f"{needs}, and site {name!r} is masked: what counts in no density would be compared",
                    subject=name,
                    remedy="leave the mask out, or use TraceELBO",
                )
            if not (by_mean or site["fn"].has_rsample):
                raise InputError(
                    f"{needs} by a differentiable path, and {_kind(site['fn'])} at site {name!r} has none",
                    subject=name,
                    remedy="make a Normal of given width the likelihood (FixedScaleNormal), or pass "
                    "with_noise=False, by which the discriminator reads its means",
                )

    def require_independent(self, objective: str, name: str) -> None:
        """Require a guide under which a vector's numbers are independent given the data."""
        fn = self.guide[name]["fn"]
        if factors(fn) is None:
            raise InputError(
                f"{objective} needs a guide whose numbers are independent given the data, and site "
                f"{name!r} is a {_kind(fn)}",
                subject=name,
                remedy="use `.to_event(1)` of a distribution of numbers (MeanFieldNormal)",
            )

    def require_shared_support(self, objective: str, name: str) -> None:
        """Require that the guide of one datum gives another's draws a positive probability."""
        site = self.guide[name]
        try:
            reached = factors(site["fn"]).log_prob(site["value"].unsqueeze(1)).isfinite().all()
        except ValueError:  # a check of torch's
            reached = False
        if not reached:
            raise InputError(
                f"{objective} compares the data's guides, and at site {name!r} ({_kind(site['fn'])}) the "
                "guide of a datum does not reach the draws of another",
                subject=name,
                remedy="use a guide with the same support for all data",
            )


def check_pyro_elbo(elbo: Any, examined: Examination) -> list[str]:
    """Check that a Pyro ELBO that sums no site out can do without.

    Returns:
        A note on a marked site that it draws.

    Raises:
        InputError: it cannot, or has no gradient through the draws that it needs.
    """
    if not isinstance(elbo, WITHOUT_ENUMERATION):
        return []
    objective, structure = type(elbo).__name__, examined.structure
    if structure.enumerated:
        raise InputError(
            f"{objective} sums no site out, and the guide does not draw {structure.enumerated[0]!r}",
            subject=structure.enumerated[0],
            remedy=f"{DEFAULT} sums it out",
        )
    if isinstance(elbo, REPARAMETERISED):
        program_sites(examined).require_reparameterised(objective)
    return [
        f"{objective} draws {name!r}, which is marked to be summed out, and its gradient is noisy: "
        f"{DEFAULT} sums it out"
        for name in structure.marked[:1]
    ]


def program_sites(examined: Examination, args: Sequence[Any] = ()) -> ProgramSites:
    """Return the sites of an examination on ``args``, without the latents that are summed out."""
    structure, model = examined.structure, latent_sites(examined.model)
    given = {n: s for n, s in model.items() if n not in structure.enumerated}
    observed = {n: s for n, s in observed_sites(examined.model).items() if not is_factor(s)}
    return ProgramSites(structure, drawn_sites(examined.guide), given, observed, tuple(args))


def factors(fn: Any) -> Any:
    """Return the distribution of each number of an event, if they are independent, or None.

    >>> import pyro.distributions as dist
    >>> factors(dist.Normal(torch.zeros(5, 3), 1.0).to_event(1)).batch_shape
    torch.Size([5, 3])
    """
    base = inside(fn, torch.distributions.Independent)
    return base if base is not fn and not base.event_shape else None


def _kind(fn: Any) -> str:
    return type(inside(fn)).__name__
