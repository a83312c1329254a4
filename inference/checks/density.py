"""Whether the densities that a program gives are those of what it draws."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from pyro import poutine
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.inference.checks.intervals import ROUNDING, Range, range_of, without_independence
from pyro_vae.inference.objectives import Objective
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.examination import Examination
from pyro_vae.program.log_prob import score
from pyro_vae.program.probe import moves
from pyro_vae.program.trace import (
    Site,
    by_plates,
    drawn_sites,
    is_jacobian,
    is_point_mass,
    sample_sites,
    training_terms,
)
from pyro_vae.program.unconstrained import Coordinates, Immovable, Placement

MOST = 100  # numbers of a unit whose map is differentiated
OFF = 0.01  # of a log-density: by rounding
SHIFTS = (-50.0, -5.0, 5.0, 50.0)  # of unconstrained numbers, to see where a map leads


def check_steady(call: BoundProgram) -> None:
    """:raises InputError: the program's densities are no functions of its latents."""
    if call.noise is not None:
        raise _noisy(call.noise)


def refuse_noise(one: Tensor, other: Tensor) -> None:
    """:raises InputError: the same latents have got two log-densities."""
    if bool(moves(one, other).any()):
        raise _noisy(f"by up to {float((one - other).abs().max()):.3g} nats")


def _noisy(what: str) -> InputError:
    return InputError(
        f"model or guide gives the same latents another density each time it is called ({what}): noise or "
        "a random subsample is drawn outside `pyro.sample`. An evidence needs a density that stays"
    )


def check_map(call: BoundProgram) -> None:
    """Holds a guide that maps auxiliary draws onto latents (Delta) against the map's own derivative.

    The log-density of z = f(u) is that of u, less log |det df/du|, which the Delta is to say. Where u is
    masked or discrete, or the derivative is large or cannot be had, it is taken at its word.

    :raises InputError: it says something else, or leads out of the prior's support.
    """
    guide, joint = call.one()
    sites = drawn_sites(guide)
    points = [n for n in call.structure.latents if n in sites and is_point_mass(sites[n]["fn"])]
    model = sample_sites(joint)
    to = {name: model[name] for name in points}
    drawn = {n: s for n, s in sites.items() if s["infer"].get("is_auxiliary") and n not in points}
    call = replace(call, vectorized=False, pair=None)
    depth = call.structure.max_plate_nesting
    if not points or any(len(site["fn"].batch_shape) > depth for site in to.values()):
        return
    with suppress(Immovable):
        source = Coordinates(drawn, call.structure, call.vectorized)
        target = Coordinates(to, call.structure, call.vectorized)
        if source.size == target.size and source.free.all() and target.free.all():
            bijection = _Map(call, guide, drawn, to, source, target)
            bijection.check_support()
            bijection.check_density()


@dataclass(frozen=True)
class _Derivative:
    """Of a map at some point: the sites there, and sign and log of |det|, (1, U)."""

    sites: Mapping[str, Site]
    log_jacobian: Tensor
    v: Tensor
    sign: Tensor
    log_det: Tensor


class _Map:
    """From a guide's auxiliary sites to the latents that it puts at points, all else held."""

    def __init__(
        self,
        call: BoundProgram,
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
                        f"({self.to[name]['fn']}): what it makes of {self._names} may lie outside, so give "
                        "the guide a distribution with the prior's support"
                    )

    def derivative(self, u: Tensor) -> _Derivative | None:
        """At u (1, U, D); None where there is none."""
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
        """A map of the whole space onto another is one-to-one only if its determinant keeps its sign."""
        for other in (-self.origin, self.origin - 2, self.origin + 2):
            there = self.derivative(other)
            turned = there is not None and bool((sign * there.sign < 0).any())
            if turned:
                raise InputError(
                    f"the guide makes the same {', '.join(map(repr, self.to))} of several values of "
                    f"{self._names} (the map turns back), so the density of a draw is not known: use a map "
                    "that is one-to-one"
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
        said = score(sites.values(), self.call.structure, 1)
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
    points = [name for name, site in drawn_sites(guide).items() if is_point_mass(site["fn"])]
    for name in {*points, *(others or ())}:
        held.remove_node(name)
    return held


def what_is_no_elbo(elbo: Any, examined: Examination) -> list[str]:
    """Why the figure that is trained by is not the ELBO of this program, in sentences."""
    terms = [] if isinstance(elbo, Objective) else [*training_terms(examined.guide)]
    said = [
        f"the guide's site {name!r} counts in the training loss and not in the guide's density, so what is "
        "trained by is not called an ELBO"
        for name in terms[:1]
    ]
    sites = {**sample_sites(examined.guide), **sample_sites(examined.model)}
    said += [
        f"the model masks the prior of {name!r}, which counts in Pyro's sum over its values, so what is "
        "trained by is not called an ELBO"
        for name in examined.structure.without_prior
        if name in examined.structure.enumerated
    ][:1]
    said += [
        f"site {name!r} is weighted in training (poutine.scale), so what is trained by is not called an "
        "ELBO"
        for name, site in sites.items()
        if not _counts_as_its_plates_say(site)
    ][:1]
    for name, site in drawn_sites(examined.guide).items():
        if not _scores_its_draws(site["fn"]):
            said.append(
                f"while it is trained, the guide's site {name!r} scores its draws by another map than they "
                "are drawn by (a batch normalisation), so what is trained by is not called an ELBO"
            )
    return said


def _counts_as_its_plates_say(site: Site) -> bool:
    scale = torch.as_tensor(site["scale"], dtype=torch.float64)
    return bool(((scale - by_plates(site)).abs() <= 1e-6 * scale.abs()).all())


def _scores_its_draws(fn: Any) -> bool:
    """Whether a transformed distribution, in training mode, undoes what it did to its base's draws."""
    fn = without_independence(fn)
    learnt = [t for t in getattr(fn, "transforms", ()) if isinstance(t, nn.Module)]
    buffers = [b for t in learnt for b in t.buffers()]
    if not buffers:  # nothing that training could treat otherwise
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
    except Exception:  # a transform without an inverse keeps what it did
        return True
    finally:
        for transform, mode in zip(learnt, modes, strict=True):
            transform.train(mode)
        for buffer, value in zip(buffers, values, strict=True):
            buffer.copy_(value)
    return torch.allclose(back, base, rtol=1e-3, atol=1e-3)
