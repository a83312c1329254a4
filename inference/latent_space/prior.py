"""The prior of one row's latents, at points between two rows."""

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import Normal, constraints
from torch import Tensor
from torch.distributions import Transform

from pyro_vae.errors import InputError
from pyro_vae.inference.latent_space.space import LatentSpace, OneRow, Point
from pyro_vae.inference.posterior.rows import score_rows
from pyro_vae.program.site_layout import SiteLayout
from pyro_vae.program.support import support_of
from pyro_vae.program.trace import sample_sites
from pyro_vae.program.unconstrained import Immovable, bijection
from pyro_vae.program.wrappers import inside


@dataclass(frozen=True)
class RowPrior:
    """Give p(z) of a row's latents, in nats, with all else at the guide's mean.

    Attributes:
        row: whose arguments the prior has, if it depends on any.
    """

    row: OneRow

    @property
    def space(self) -> LatentSpace:
        return self.row.space

    def log_prob(self, points: Point) -> Tensor:
        """Return log p(z) at M points, (M,), with a gradient; enumerated latents are summed out.

        Raises:
            InputError: a prior is flat.
        """
        self.check_proper()
        call, rows = self.row.call, self.space.rows
        own = call.structure.unit == rows.plate
        structure = call.structure if own else rows.structure(call.structure)
        observed = call.structure.observed

        def read(trace: poutine.Trace) -> dict[str, Tensor]:
            count = len(next(iter(points.values()))) if call.vectorized else 1
            total = score_rows(trace, structure, count, observed)
            return {"": total if call.vectorized else total[0]}

        with torch.enable_grad():
            found = self.row.run(points, read, sum_out=True)[""]
        return found[:, self.row.place]

    def check_proper(self) -> None:
        """Raise InputError where a latent has no prior density."""
        if flat := self.row.call.structure.flat:
            raise InputError(
                f"the prior of {flat[0]!r} is flat, so no point of the latent space has a density or an "
                "evidence",
                subject=flat[0],
                expected="a proper prior, as a VAE has",
                remedy="pass evidence=False and along=Straight()",
            )

    def with_another(self, points: Point) -> dict[str, Tensor]:
        """Return the points and one more inside of the priors' supports, at which each latent differs.

        Two rows may lie at one point: what depends on the latents shows at the other.
        """
        found = {}
        for name, fn in self.distributions(points).items():
            z = points[name]
            other = z[:1]
            with contextlib.suppress(Immovable):
                to_support = bijection(name, fn)
                u = to_support.inv(other)
                step = torch.linspace(0.5, 1.5, max(1, u.numel()), dtype=u.dtype, device=u.device)
                other = to_support(u + step.reshape(u.shape))
            found[name] = torch.cat([z, other])
        return found

    def bijections(self, points: Point) -> dict[str, Transform]:
        """Return the maps from unconstrained numbers onto each latent's support."""
        return {name: bijection(name, fn) for name, fn in self.distributions(points).items()}

    def normal_or_sphere(self, points: Point) -> dict[str, tuple[Tensor, Tensor] | None]:
        """Return location and scale of each normal prior, ``M + 1 | rest | event``; None of a sphere.

        The last is at another point, where a prior that depends on other latents differs.

        Raises:
            InputError: a prior is neither.
        """
        found: dict[str, tuple[Tensor, Tensor] | None] = {}
        points = self.with_another(points)
        for name, fn in self.distributions(points).items():
            if support_of(fn) is constraints.sphere:
                found[name] = None
                continue
            base = inside(fn)
            if not isinstance(base, Normal | torch.distributions.Normal):
                raise InputError(
                    f"the prior of {name!r} is {type(base).__name__}, and a spherical path turns about "
                    "the centre of a Normal or of a sphere",
                    subject=name,
                    expected="a prior Normal(loc, scale), or one on the sphere",
                    remedy="pass along=Straight() or PriorDensity()",
                )
            found[name] = self._normal(name, points)
        return found

    def distributions(self, points: Point) -> dict[str, Any]:
        """Return the prior distribution of each latent that can be moved, at the first of the points."""
        fns: dict[str, Any] = {}

        def read(trace: poutine.Trace) -> dict[str, Tensor]:
            sites = sample_sites(trace)
            fns.update({name: sites[name]["fn"] for name in self.space.continuous})
            return {name: sites[name]["value"] for name in self.space.continuous}

        self.row.run({name: z[:1] for name, z in points.items()}, read)
        return fns

    def _normal(self, name: str, points: Point) -> tuple[Tensor, Tensor]:
        layout = self.space.at_mean.layouts[name]
        layouts: dict[str, SiteLayout] = {"loc": layout, "scale": layout}

        def read(trace: poutine.Trace) -> dict[str, Tensor]:
            site = sample_sites(trace)[name]
            base = inside(site["fn"])
            return {part: getattr(base, part).expand_as(site["value"]) for part in layouts}

        num = len(next(iter(points.values())))
        found = self.row.of_sites(self.row.run(points, read), layouts, num)
        return found["loc"], found["scale"]
