"""The estimates of each unit: named tensors, joined over tiles and written to files."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import torch
from torch import Tensor

from pyro_vae.errors import InputError


@dataclass(frozen=True)
class UnitEstimates:
    """Hold the estimates of some units; every tensor is ``units |`` and, unless noted, in nats.

    Attributes:
        log_evidence: log p-hat(x), with p-hat(x) the mean of K weights. Where that is unbiased, as by
            importance sampling (the IWAE bound at K), its expectation is at most log p(x).
        standard_error: Monte-Carlo standard error of ``log_evidence``: log p(x) lies within 1.96 of it in
            some 95% of repeats, heavy tails included (module ``standard_error``). NaN where a few weights
            decide the figure, so that no error can be trusted.
        ess: effective sample size (sum w)^2 / sum w^2, of K.
        pareto_k: shape of the weights' tail, which is too heavy for K weights above ``bad_k``. NaN where K
            is too small to tell.
        smoothed: the Pareto-smoothed estimate.
        jackknife: ``log_evidence`` with its bias of order 1/K removed.
        bounds: the bound at 1, 10, 100, ... particles and K, from the same draws; of importance sampling
            it is the IWAE bound, and at 1 the ELBO.
        bounds_error: their Monte-Carlo standard errors.
        upper: from above, where the method has it: of ``simulated`` data an upper bound, in expectation;
            of given data an estimate of one. Of a unit's K chains, which share one draw of the posterior.
        upper_error: its Monte-Carlo standard error, which does not see how that draw varies.
        acceptance: of annealing, the mean probability that a transition is accepted.
        is_annealed: whether ``Auto`` has annealed a unit.
        simulated: the data that the estimates are of, as the program takes them, where the model itself
            has drawn them.
        indicative: further figures, by name, which bound nothing.
        observed: facts about the observed values, by name, that show whether two evidences are of the same
            data (module ``observed_values``); empty where they are not known.
    """

    log_evidence: Tensor
    standard_error: Tensor
    ess: Tensor
    pareto_k: Tensor
    smoothed: Tensor | None = field(default=None, kw_only=True)
    jackknife: Tensor | None = field(default=None, kw_only=True)
    bounds: Mapping[int, Tensor] = field(default_factory=dict, kw_only=True)
    bounds_error: Mapping[int, Tensor] = field(default_factory=dict, kw_only=True)
    upper: Tensor | None = field(default=None, kw_only=True)
    upper_error: Tensor | None = field(default=None, kw_only=True)
    acceptance: Tensor | None = field(default=None, kw_only=True)
    is_annealed: Tensor | None = field(default=None, kw_only=True)
    simulated: tuple[Tensor, ...] = field(default=(), kw_only=True)
    indicative: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)
    observed: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)

    @property
    def num_units(self) -> int:
        return len(self.log_evidence)

    @property
    def without_error(self) -> Tensor:
        """Which units have a figure, but no error that can be trusted; bool, ``units |``."""
        return self.standard_error.isnan() & self.log_evidence.isfinite()

    def on_host(self) -> Self:
        """Return the same on the CPU."""
        return self._map(lambda tensor: tensor.cpu())

    def select(self, units: Tensor) -> Self:
        """Return the estimates of some units, by number; simulated data that are not rows stay whole."""

        def selected(tensor: Tensor) -> Tensor:
            is_per_unit = tensor.shape[:1] == (self.num_units,)
            return tensor[units.to(tensor.device)] if is_per_unit else tensor

        return self._map(selected)

    def by_field(self) -> dict[str, Any]:
        """Return the fields of this class by name, without those that a subclass adds."""
        return {f.name: getattr(self, f.name) for f in fields(UnitEstimates)}

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        mapped = {name: _map(value, function) for name, value in self.by_field().items()}
        rest = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in mapped}
        return type(self)(**mapped, **rest)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return every tensor by its field, and by its key in the field, as in ``bounds/10``.

        >>> sorted(UnitEstimates(*torch.zeros(4, 2), bounds={1: torch.ones(2)}).to_tensors())
        ['bounds/1', 'ess', 'log_evidence', 'pareto_k', 'standard_error']
        """
        tensors: dict[str, Tensor] = {}
        for name, value in self.by_field().items():
            if isinstance(value, Tensor):
                tensors[name] = value
            elif value is not None:
                items = value.items() if isinstance(value, Mapping) else enumerate(value)
                tensors |= {f"{name}/{key}": tensor for key, tensor in items}
        return tensors


def _map(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Mapping):
        return {key: function(tensor) for key, tensor in value.items()}
    if isinstance(value, tuple):
        return tuple(map(function, value))
    return value if value is None else function(value)


def from_tensors(tensors: Mapping[str, Tensor]) -> UnitEstimates:
    """Return the estimates from the tensors of :meth:`UnitEstimates.to_tensors`.

    Raises:
        InputError: a name is not that of a field, or a required field is missing.
    """
    values: dict[str, Any] = {}
    for name, tensor in tensors.items():
        field_name, _, key = name.partition("/")
        if field_name not in UnitEstimates.__dataclass_fields__ or bool(key) != (
            field_name in KEY_TYPES
        ):
            raise InputError(f"no method gives the estimate {name!r}", subject=name)
        if key:
            values.setdefault(field_name, {})[KEY_TYPES[field_name](key)] = tensor
        else:
            values[field_name] = tensor
    if "simulated" in values:
        values["simulated"] = tuple(values["simulated"][i] for i in range(len(values["simulated"])))
    for name in ("log_evidence", "standard_error", "ess", "pareto_k"):
        if name not in values:
            raise InputError(f"the estimate {name!r} is missing", subject=name)
    return UnitEstimates(**values)


KEY_TYPES: Mapping[str, Callable[[str], Any]] = {
    "bounds": int,
    "bounds_error": int,
    "simulated": int,
    "indicative": str,
    "observed": str,
}


def concatenate(parts: Iterable[UnitEstimates]) -> UnitEstimates:
    """Return the estimates of all units of some tiles, in their order.

    >>> one, other = UnitEstimates(*torch.zeros(4, 2)), UnitEstimates(*torch.ones(4, 1))
    >>> concatenate([one, other]).ess
    tensor([0., 0., 1.])
    """
    tensors = [part.to_tensors() for part in parts]
    if len(tensors) == 1:
        return from_tensors(tensors[0])
    names = tensors[0].keys()
    return from_tensors({name: torch.cat([each[name] for each in tensors]) for name in names})
