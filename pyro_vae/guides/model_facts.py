"""What a guide has to know of a model: units, latents, their coordinates, what each depends on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae.errors import InputError
from pyro_vae.guides.latent import Latent, LatentCoordinates
from pyro_vae.guides.within import Within
from pyro_vae.program.contract import Program, as_program, held_program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.site_checks import check_shapes
from pyro_vae.program.trace import (
    Site,
    as_raised,
    is_factor,
    kind_of,
    latent_sites,
    observed_sites,
    run,
    sample_sites,
    shape_of,
)

PRIOR_DRAWS = 64  # of the model, from which factors take location and scale of their latents


@dataclass(frozen=True)
class Unit:
    """Hold the plate of the units, and the numbers of the arguments that have one row a unit."""

    name: str
    dim: int
    rows: tuple[int, ...]

    def holds(self, site: Site) -> bool:
        return any(frame.name == self.name for frame in site["cond_indep_stack"])


def without_guide(model: Any) -> Program:
    """Return a model, or an object that has one, as a program whose guide draws nothing.

    Raises:
        InputError: it is neither.
    """
    model = held_program(model)
    is_a_part = hasattr(model, "model") and not _is_forecasting(model)
    function = getattr(model, "model", None) if is_a_part else model
    if not callable(function):
        raise InputError(
            f"{type(model).__name__} is not a model",
            subject="model",
            expected="a Pyro model, or an object with `.model`",
        )
    return as_program((function, lambda *args, **kwargs: None))


def _is_forecasting(model: Any) -> bool:
    """Return whether a model is Pyro's ForecastingModel: its call prepares what its ``.model`` needs."""
    kinds = ((cls.__module__, cls.__name__) for cls in type(model).__mro__)
    return ("pyro.contrib.forecast.forecaster", "ForecastingModel") in kinds


def prior_draws(
    target: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[poutine.Trace]:
    """Return traces of the model alone, whose latents are draws of the prior.

    A model may find its own prior's draws invalid, such as a relaxed state outside of its range. It then
    runs without validation.

    Raises:
        InputError: the model raises, or the plates of a latent do not explain its shape.
    """

    try:
        draws = _runs(target, args, kwargs)
    except InputError as error:
        if not isinstance(as_raised(error), ValueError):
            raise
        with pyro.validation_enabled(False):
            draws = _runs(target, args, kwargs)
    check_shapes("model", draws[0])
    return draws


def _runs(target: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[poutine.Trace]:
    """Return the traces of those runs that succeed: an extreme draw may be too much for the model.

    Raises:
        InputError: the last run's, if all fail.
    """
    draws, failure = [], None
    with undisturbed(target, 0), torch.no_grad():
        for _ in range(PRIOR_DRAWS):
            try:
                draws.append(run("model", target.model, args, kwargs))
            except InputError as error:
                failure = error
                if not draws:
                    break
    if failure is not None and len(draws) < 2:
        raise failure
    return draws


def latents_to_draw(trace: poutine.Trace) -> list[str]:
    """Return the latents that the model does not sum out."""
    return [n for n, s in latent_sites(trace).items() if not s["infer"].get("enumerate")]


def plates_of(site: Site) -> list[Any]:
    """Return the vectorized plates that hold a site, from the outermost on."""
    return [frame for frame in site["cond_indep_stack"] if frame.vectorized]


def _data_sites(trace: poutine.Trace) -> dict[str, Site]:
    """Return the observed sites and factors, without what a reparameterisation has computed."""
    return {
        n: s for n, s in observed_sites(trace).items() if kind_of("model", s) != "deterministic"
    }


def unit_of(
    target: Program,
    trace: poutine.Trace,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    latents: Sequence[str],
) -> Unit | None:
    """Return the outermost plate of the observed sites, if it holds a latent; else None.

    An observed site outside of all plates is of no unit. If no argument has a row for each unit, there is
    nothing to tell units by, and their latents are shared ones.

    Raises:
        InputError: the observed sites lie in unlike plates, the plate takes a subsample of its own, or
            observed values have not the shapes of their distributions.
    """
    observed = {n: plates_of(s) for n, s in _data_sites(trace).items() if plates_of(s)}
    sites = sample_sites(trace)
    outermost = {plates[0].name: (plates[0], name) for name, plates in observed.items()}
    holding = [
        frame
        for frame, _ in outermost.values()
        if any(frame in plates_of(sites[name]) for name in latents)
    ]
    if not holding:
        return None
    if len(outermost) > 1:
        (one, first), (other, second), *_ = outermost.values()
        raise InputError(
            f"the observed sites {first!r} and {second!r} lie in the plates {one.name!r} and "
            f"{other.name!r}, and the guide needs one plate of units around all",
            subject=other.name,
            remedy="use one plate for both, or write the guide by hand",
        )
    (frame,) = holding
    if frame.full_size is not None and frame.full_size != frame.size:
        raise InputError(
            f"plate {frame.name!r} takes {frame.size:,} of {frame.full_size:,} units itself",
            subject=frame.name,
            remedy="pass the rows to the model, and make the plate as long as they are",
        )
    unit = Unit(frame.name, frame.dim, _with_rows(args, frame.size))
    if not unit.rows or not _follows(target, trace, unit, args, kwargs):
        _check_observed_shapes(trace)
        return None
    return unit


def _check_observed_shapes(trace: poutine.Trace) -> None:
    """Check that observed values have the shapes of their distributions.

    Raises:
        InputError: one has not.
    """
    for name, site in observed_sites(trace).items():
        shape, value = tuple(shape_of(site["fn"])), tuple(site["value"].shape)
        longest = max(len(shape), len(value))
        if not is_factor(site) and _padded(value, longest) != _padded(shape, longest):
            raise InputError(
                f"site {name!r} observes values of shape {value}",
                subject=name,
                expected=f"shape {shape}, that of its distribution",
                remedy="put further dimensions into the event by `.to_event`, or into a plate",
            )


def _padded(shape: tuple[int, ...], length: int) -> tuple[int, ...]:
    return (1,) * (length - len(shape)) + shape


def _with_rows(args: tuple[Any, ...], num_units: int) -> tuple[int, ...]:
    return tuple(
        number
        for number, argument in enumerate(args)
        if isinstance(argument, Tensor) and argument.dim() and len(argument) == num_units
    )


def _follows(
    target: Program,
    trace: poutine.Trace,
    unit: Unit,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> bool:
    """Return whether the observed values of the units are in the other order when the rows are."""
    turned = [x.flip(0) if number in unit.rows else x for number, x in enumerate(args)]
    with undisturbed(target, 0), torch.no_grad():
        other = _data_sites(run("model", target.model, turned, kwargs))
    for name, site in _data_sites(trace).items():
        value, axis = site["value"], unit.dim - site["fn"].event_dim
        if not unit.holds(site) or value.dim() < -axis or is_factor(site):
            continue
        same = torch.isclose(other[name]["value"], value.flip(axis), equal_nan=True)
        if not bool(same.all()):
            return False
    return True


def latent_of(name: str, draws: Sequence[poutine.Trace]) -> Latent:
    """Return a latent, with location and scale from draws of its prior.

    Raises:
        InputError: there are none, or the support depends on other latents.
    """
    first, *others = (LatentCoordinates.of(name, draw.nodes[name]["fn"]) for draw in draws[:8])
    device = _device_of(draws[0], name)
    if not all(first.same_support(other, device) for other in others):
        raise InputError(
            f"the support of latent {name!r} depends on other latents",
            subject=name,
            expected="a support that stays the same",
            remedy=f"draw {name!r} from (0, 1), say, and scale it in the model",
        )
    free = [first(cast(Site, d.nodes[name])["value"]).reshape(-1, first.size) for d in draws]
    location, scale = _centre(torch.cat(free))
    within = None if first.is_identity else Within.around(location, scale)
    if within is not None:
        location = location.clamp(within.low, within.high)
    site = cast(Site, draws[0].nodes[name])
    depth = len(site["fn"].batch_shape)
    return Latent(replace(first, within=within), plates_of(site), depth, location, scale)


def _centre(draws: Tensor) -> tuple[Tensor, Tensor]:
    """Return the median of each column, and half of the distance between its 16% and 84% quantiles.

    Of a normal distribution, these are mean and standard deviation. Priors of scales have heavy tails,
    where a few draws would decide the standard deviation.
    """
    draws, dtype = draws[draws.isfinite().all(-1)].double(), torch.get_default_dtype()
    if not len(draws):
        return draws.new_zeros(draws.shape[1:], dtype=dtype), draws.new_ones(
            draws.shape[1:], dtype=dtype
        )
    in_order = draws.sort(0).values
    low, median, high = (in_order[int(share * (len(draws) - 1))] for share in (0.16, 0.5, 0.84))
    half, rounding = (high - low) / 2, 1e-6 * median.abs()
    scale = torch.where(half > rounding, half, draws.std(0, correction=0))
    return median.to(dtype), torch.where(scale > rounding, scale, 1.0).to(dtype)


def _device_of(trace: poutine.Trace, name: str) -> torch.device:
    value: Tensor = cast(Site, trace.nodes[name])["value"]
    return value.device


def check_supports(
    target: Program,
    unit: Unit,
    trace: poutine.Trace,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    """Check that supports do not depend on the rows.

    Raises:
        InputError: one does.
    """
    halves = [x[: (len(x) + 1) // 2] if n in unit.rows else x for n, x in enumerate(args)]
    with undisturbed(target, 0), torch.no_grad():
        try:
            part = run("model", target.model, halves, kwargs)
        except InputError:  # it is made for this number of rows
            rows = zip(halves, args, strict=True)
            twice = [
                torch.cat([h, h])[: len(x)] if n in unit.rows else x
                for n, (h, x) in enumerate(rows)
            ]
            part = run("model", target.model, twice, kwargs)
    for name in latents_to_draw(trace):
        of_all, of_some = (LatentCoordinates.of(name, t.nodes[name]["fn"]) for t in (trace, part))
        if not of_all.same_support(of_some, _device_of(trace, name)):
            raise InputError(
                f"the support of latent {name!r} depends on the data",
                subject=name,
                expected="a support that stays the same",
                remedy=f"give {name!r} a prior whose bounds are constants",
            )
