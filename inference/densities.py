"""Whether the densities that a program gives are those of what it draws."""

from collections.abc import Mapping
from contextlib import suppress

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.inference.call import Call
from pyro_vae.inference.coordinates import Coordinates, Immovable, Placement
from pyro_vae.inference.ranges import ROUNDING, Range, range_of
from pyro_vae.particles import is_point_mass, read_particles, score
from pyro_vae.traces import Site, sample_sites

MOST = 100  # numbers of a unit whose map is differentiated
OFF = 0.01  # of a log-density: by rounding
SHIFTS = (-50.0, -5.0, 5.0, 50.0)  # of unconstrained numbers, to see where a map leads


def check_stays(call: Call) -> None:
    """:raises InputError: the program's densities are no functions of its latents."""
    free = _without_points(call.guide(1))
    weights = []
    for _ in range(2):
        guide = call.guide(1, lambda guide: poutine.replay(guide, free))
        weights.append(read_particles(call.joint(1, guide), guide, call.layout, 1).log_weights)
    refuse_noise(*weights)


def refuse_noise(one: Tensor, other: Tensor) -> None:
    """:raises InputError: the same latents have got two log-densities."""
    if not torch.allclose(one, other, rtol=1e-4, atol=1e-4, equal_nan=True):
        raise InputError(
            "model or guide gives the same latents another density each time it is called "
            f"(by up to {float((one - other).abs().max()):.3g} nats): noise or a random subsample "
            "is drawn outside `pyro.sample`. An evidence needs a density that stays"
        )


def check_map(call: Call, guide: poutine.Trace) -> None:
    """Holds a guide that maps auxiliary draws onto latents (Delta) against the map's own derivative.

    The log-density of z = f(u) is that of u, less log |det df/du|, which the Delta is to say. Where u is
    masked or discrete, or the derivative is large or cannot be had, it is taken at its word.

    :param guide: its trace, with one chain.
    :raises InputError: it says something else, or leads out of the prior's support.
    """
    sites = sample_sites(guide)
    points = [n for n in call.layout.latents if n in sites and is_point_mass(sites[n]["fn"])]
    model = sample_sites(call.joint(1, guide)) if points else {}
    to = {name: model[name] for name in points}
    drawn = {n: s for n, s in sites.items() if s["infer"].get("is_auxiliary") and n not in points}
    depth = call.layout.nesting + call.together
    if not points or any(len(site["fn"].batch_shape) > depth for site in to.values()):
        return
    with suppress(Immovable):
        source = Coordinates(drawn, call.layout, call.together)
        target = Coordinates(to, call.layout, call.together)
        if source.size == target.size and source.free.all() and target.free.all():
            bijection = _Map(call, guide, drawn, to, source, target)
            bijection.check_support()
            bijection.check_density()


class _Map:
    """From a guide's auxiliary sites to the latents that it puts at points, all else held."""

    def __init__(
        self,
        call: Call,
        guide: poutine.Trace,
        drawn: Mapping[str, Site],
        to: Mapping[str, Site],
        source: Coordinates,
        target: Coordinates,
    ) -> None:
        self.call, self.drawn, self.to = call, drawn, to
        self.source, self.target = source, target
        self.held = _without_points(guide, [*drawn])
        self.origin = source.of(drawn)

    def at(self, u: Tensor) -> tuple[Mapping[str, Site], Tensor]:
        """The latents' sites at unconstrained numbers (1, U, D); and log |det| from these to u's own."""
        placement = Placement(self.source, u)
        guide = self.call.guide(1, lambda guide: placement(poutine.replay(guide, self.held)))
        sites = sample_sites(guide)
        return {name: sites[name] for name in self.to}, placement.log_jacobian

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
                        f"({self.to[name]['fn']}): what it makes of {self._names} may lie outside, so give "
                        "the guide a distribution with the prior's support"
                    )

    def check_density(self) -> None:
        if not 0 < self.source.size <= MOST:
            return
        with torch.enable_grad():
            u = self.origin.detach().requires_grad_()
            sites, log_jacobian = self.at(u)
            values = {n: {**site, "value": sites[n]["value"]} for n, site in self.to.items()}
            v = self.target.of(values)
            if not v.requires_grad:
                return
            rows = [
                torch.autograd.grad(column.sum(), u, retain_graph=True, materialize_grads=True)[0]
                for column in v.unbind(-1)
            ]
        log_det = torch.stack(rows, -2).double().slogdet().logabsdet
        arrival = Placement(self.target, v.detach())
        for name, site in self.to.items():
            arrival.place(name, site["fn"])
        said = score(sites.values(), self.call.layout, 1)
        due = log_jacobian - log_det - arrival.log_jacobian
        off = (said - due).abs() > OFF * (1 + due.abs())
        if 2 * off.sum() > off.numel():  # at its edges a map is steep, and float32 no judge of it
            unit = int(off[0].nonzero()[0])
            raise InputError(
                f"the guide makes {', '.join(map(repr, self.to))} of {self._names} with a log-density of "
                f"{float(said[0, unit]):.4g} (Delta), where the map's derivative gives "
                f"{float(due[0, unit]):.4g}: its log_density is to be minus the log of |det| of that "
                "derivative"
            )

    @property
    def _names(self) -> str:
        return ", ".join(map(repr, self.drawn))


def _is_bounded(range_: Range) -> bool:
    return bool(range_.lower.isfinite().any() | range_.upper.isfinite().any())


def _without_points(guide: poutine.Trace, others: list[str] | None = None) -> poutine.Trace:
    """What is to be held for the rest to follow."""
    held = guide.copy()
    points = [name for name, site in sample_sites(guide).items() if is_point_mass(site["fn"])]
    for name in {*points, *(others or ())}:
        held.remove_node(name)
    return held
