"""Whether a guide that maps its draws onto latents gives the latents the right density."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.checks.intervals import ROUNDING, Range, range_of
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.log_prob import score
from pyro_vae.program.trace import (
    Site,
    drawn_sites,
    is_jacobian,
    is_point_mass,
    sample_sites,
)
from pyro_vae.program.unconstrained import Coordinates, Immovable, Placement

MOST = 100  # numbers of a unit whose map is differentiated
TOLERANCE = 0.01  # of a log-density, for rounding
SHIFTS = (-50.0, -5.0, 5.0, 50.0)  # of unconstrained numbers, to see where a map leads


def check_map(bound_program: BoundProgram) -> None:
    """Check a guide that maps auxiliary draws onto latents (Delta) by the map's own derivative.

    The log-density of z = f(u) is that of u, less log |det df/du|, which the Delta must hold. The check is
    left out where u is masked or discrete, or the derivative is large or not available.

    Raises:
        InputError: the Delta holds another number, or the map leads out of the prior's support.
    """
    guide, joint = bound_program.one()
    sites = drawn_sites(guide)
    points = [
        n for n in bound_program.structure.latents if n in sites and is_point_mass(sites[n]["fn"])
    ]
    model = sample_sites(joint)
    to = {name: model[name] for name in points}
    drawn = {n: s for n, s in sites.items() if s["infer"].get("is_auxiliary") and n not in points}
    bound_program = bound_program.single()
    depth = bound_program.structure.max_plate_nesting
    if not points or any(len(site["fn"].batch_shape) > depth for site in to.values()):
        return
    with suppress(Immovable):
        source = Coordinates(drawn, bound_program.structure, bound_program.vectorized)
        target = Coordinates(to, bound_program.structure, bound_program.vectorized)
        if source.size == target.size and source.free.all() and target.free.all():
            bijection = _Map(bound_program, guide, drawn, to, source, target)
            bijection.check_support()
            bijection.check_density()


@dataclass(frozen=True)
class _Derivative:
    """Hold the sites at a point of a map, and the determinant's sign and the log of its size, (1, U)."""

    sites: Mapping[str, Site]
    log_jacobian: Tensor
    v: Tensor
    sign: Tensor
    log_det: Tensor


class _Map:
    """Map a guide's auxiliary sites to the latents that it puts at points; all other sites are held."""

    def __init__(
        self,
        bound_program: BoundProgram,
        guide: poutine.Trace,
        drawn: Mapping[str, Site],
        to: Mapping[str, Site],
        source: Coordinates,
        target: Coordinates,
    ) -> None:
        self.bound_program, self.drawn, self.to = bound_program, drawn, to
        self.source, self.target = source, target
        self.held = _without_points(guide, [*drawn])
        self.origin = source.of(drawn)

    def at(self, u: Tensor) -> tuple[Mapping[str, Site], Tensor]:
        """Return the latents' sites at unconstrained numbers (1, U, D), and log |det| from these to u."""
        placement = Placement(self.source, u)
        guide = self.bound_program.guide(
            1, lambda guide: placement(poutine.replay(guide, self.held))
        )
        sites = sample_sites(guide)
        jacobians = {n: s for n, s in sites.items() if is_jacobian(s)}
        return {name: sites[name] for name in self.to} | jacobians, placement.log_jacobian

    def check_support(self) -> None:
        ranges = {n: range_of(s["fn"], self.origin.device) for n, s in self.to.items()}
        bounded = {n: r for n, r in ranges.items() if r and _is_bounded(r)}
        for shift in SHIFTS if bounded else ():
            sites, _ = self.at(self.origin + shift)
            for name, range_ in bounded.items():
                slack = ROUNDING * (1 + sites[name]["value"].abs())
                value = sites[name]["value"]
                if ((value < range_.lower - slack) | (value > range_.upper + slack)).any():
                    raise InputError(
                        f"the guide's support at site {name!r} reaches beyond the prior's "
                        f"({self.to[name]['fn']}): its map of {self._names} may lead outside",
                        subject=name,
                        remedy="give the guide a distribution with the prior's support",
                    )

    def derivative(self, u: Tensor) -> _Derivative | None:
        """Return the derivative at u (1, U, D), or None if there is none."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            sites, log_jacobian = self.at(u)
            values = {n: {**site, "value": sites[n]["value"]} for n, site in self.to.items()}
            v = self.target.of(values)
            if not v.requires_grad:
                return None
            rows = [
                torch.autograd.grad(column.sum(), u, retain_graph=True, materialize_grads=True)[0]
                for column in v.unbind(-1)
            ]
        sign, log_det = torch.stack(rows, -2).double().slogdet()
        return _Derivative(sites, log_jacobian, v.detach(), sign, log_det)

    def check_one_to_one(self, sign: Tensor) -> None:
        """Check that the determinant keeps its sign, as it does if the map is one-to-one."""
        for other in (-self.origin, self.origin - 2, self.origin + 2):
            there = self.derivative(other)
            if there is not None and bool((sign * there.sign < 0).any()):
                raise InputError(
                    f"the guide makes the same {', '.join(map(repr, self.to))} of several values of "
                    f"{self._names} (the map turns back), so the density of a draw is not known",
                    subject=next(iter(self.to)),
                    remedy="use a map that is one-to-one",
                )

    def check_density(self) -> None:
        if not 0 < self.source.size <= MOST:
            return
        here = self.derivative(self.origin)
        if here is None:
            return
        self.check_one_to_one(here.sign)
        sites, log_jacobian, v, log_det = here.sites, here.log_jacobian, here.v, here.log_det
        arrival = Placement(self.target, v)
        for name, site in self.to.items():
            arrival.place(name, site["fn"])
        declared = score(sites.values(), self.bound_program.structure, 1)
        expected = log_jacobian - log_det - arrival.log_jacobian
        wrong = (declared - expected).abs() > TOLERANCE * (1 + expected.abs())
        if 2 * wrong.sum() > wrong.numel():  # a map may be too steep for float32 in a few units
            unit = int(wrong[0].nonzero()[0])
            raise InputError(
                f"the guide makes {', '.join(map(repr, self.to))} of {self._names} with a log-density of "
                f"{float(declared[0, unit]):.4g} (Delta), where the map's derivative gives "
                f"{float(expected[0, unit]):.4g}",
                subject=next(iter(self.to)),
                expected=f"{float(expected[0, unit]):.4g}",
                remedy="give Delta a log_density of minus log |det| of that derivative",
            )

    @property
    def _names(self) -> str:
        return ", ".join(map(repr, self.drawn))


def _is_bounded(range_: Range) -> bool:
    return bool(range_.lower.isfinite().any() | range_.upper.isfinite().any())


def _without_points(guide: poutine.Trace, others: list[str] | None = None) -> poutine.Trace:
    """Return the draws to hold: neither points, which follow from them, nor the other names."""
    held = guide.copy()
    points = [name for name, site in drawn_sites(guide).items() if is_point_mass(site["fn"])]
    for name in {*points, *(others or ())}:
        held.remove_node(name)
    return held
