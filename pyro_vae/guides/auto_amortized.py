"""A guide made from a model: shared latents by free parameters, latents of a unit by networks."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.graph.inverse import faithful_inverse
from pyro_vae.graph.record.record import graph_and_warnings
from pyro_vae.guides.amortized_factor import AmortizedFactor, Coordinates
from pyro_vae.guides.shared_normal import SharedNormal
from pyro_vae.networks import MLP, NetworkFactory
from pyro_vae.program.contract import Program, as_program
from pyro_vae.program.isolation import undisturbed
from pyro_vae.program.trace import Site, latent_sites, observed_sites, run, sample_sites
from pyro_vae.scaling import Scaling

PRIOR_DRAWS = 64  # of the model, from which factors take location and scale of their latents


@dataclass(frozen=True)
class Unit:
    """Hold the plate of the units, and the numbers of the arguments that have one row a unit."""

    name: str
    dim: int
    rows: tuple[int, ...]

    def holds(self, site: Site) -> bool:
        return any(frame.name == self.name for frame in site["cond_indep_stack"])


class AutoAmortized(nn.Module):
    """Make a guide for a model, from its plates and from what its values depend on.

    The units are those of the outermost plate that holds all observed sites. A latent outside of it is
    shared by all units; the shared latents have one normal distribution with free parameters, in
    unconstrained coordinates. A unit's latents are drawn one after another, each from a normal distribution
    whose parameters a network gives. It reads the unit's rows of the arguments, and those shared and
    earlier latents on which the latent depends given the data: the faithful inverse of the model's graph
    (:func:`pyro_vae.graph.inverse.faithful_inverse`). ``print(guide)`` shows the factors.

    New rows need no training. The guide cannot draw discrete latents (the model must sum them out), nor
    from flat priors. It needs arguments with one row a unit, supports that neither differ from unit to
    unit nor depend on other latents, and plates within a unit that keep their sizes.

    Args:
        model: a Pyro model, or an object that has one as ``.model``.
        args: the arguments of a call, such as all rows, or the first 1,000.
        network: makes the network of each factor, from shapes of an input and an output.
        kwargs: named arguments of that call, which no network reads.

    Raises:
        InputError: no such guide can be made; the error names the site and a remedy.

    Source: A. Stuhlmüller, J. Taylor, N. Goodman, "Learning stochastic inverses", 2013,
    https://papers.nips.cc/paper/2013/hash/7f53f8c6c730af6aeb52e66eb74d8507-Abstract.html; A. Agrawal,
    J. Domke, "Amortized variational inference for simple hierarchical models", 2021,
    https://arxiv.org/abs/2111.03144.

    >>> import pyro.distributions as dist
    >>> def model(x):
    ...     mean = pyro.sample("mean", dist.Normal(0.0, 3.0))
    ...     with pyro.plate("groups", len(x), dim=-2):
    ...         effect = pyro.sample("effect", dist.Normal(mean, 1.0))
    ...         with pyro.plate("members", 4, dim=-1):
    ...             pyro.sample("x", dist.Normal(effect, 1.0), obs=x)
    >>> print(AutoAmortized(model, torch.randn(20, 4)))
    q(mean) prod_groups q(effect | rows, mean)
      mean: normal with full covariance, free parameters
      effect: normal, by a network
    """

    def __init__(
        self, model: Any, *args: Any, network: NetworkFactory = MLP, **kwargs: Any
    ) -> None:
        super().__init__()
        target = _without_guide(model)
        draws = _prior_draws(target, args, kwargs)
        sites, latents = sample_sites(draws[0]), _to_draw(draws[0])
        if not observed_sites(draws[0]):
            raise InputError(
                f"the model ({type(model).__name__}) observes nothing",
                subject="model",
                expected="a Pyro model",
                remedy="pass its data to `pyro.sample` as obs=",
            )
        self.unit = _unit_of(draws[0], args, latents)
        local = [n for n in latents if self.unit and self.unit.holds(sites[n])]
        self.shared_names = tuple(n for n in latents if n not in local)
        self.nesting = max((-f.dim for s in sites.values() for f in _plates(s)), default=0)
        self.plates = {name: _plates(sites[name]) for name in latents}
        self.coordinates = {name: _coordinates(name, draws) for name in latents}
        self.scalings = nn.ModuleDict({_key(name): self._learnt(name, draws) for name in latents})
        inverse = _inverse(target, args, kwargs, draws[0], local)
        self.parents = {
            name: [u for u in inverse[name] if u in latents] for name in inverse if name in local
        }
        self.shared = self._shared_guide(target.model, args, kwargs) if self.shared_names else None
        self.factors = nn.ModuleDict()
        if local:
            rows = self._rows(args)
            self.row_scaling = Scaling(rows.shape[-1:]).to(rows.device)
            self.row_scaling.learn(rows)
            for name in local:
                self.factors[_key(name)] = self._factor(name, rows.shape[-1], network)
            self.to(rows.device)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Draw the latents, and return them by name."""
        values = {} if self.shared is None else dict(self.shared(*args, **kwargs))
        if not self.parents:
            return values
        rows = self._rows(args)
        read = ((rows - self.row_scaling.location) / self.row_scaling.scale).nan_to_num(0.0)
        plates = self._open_plates(len(rows))
        for name, parents in self.parents.items():
            inputs = [read, *(self._read(u, values[u], len(rows)) for u in parents)]
            batch = torch.broadcast_shapes(*(x.shape[:-1] for x in inputs))
            joined = torch.cat([x.expand(*batch, x.shape[-1]) for x in inputs], -1)
            with ExitStack() as stack:
                for frame in self.plates[name]:
                    stack.enter_context(plates[frame.name])
                values[name] = pyro.sample(name, self.factors[_key(name)](joined))
        return values

    def __str__(self) -> str:
        product, lines = [], []
        if self.shared_names:
            names = ", ".join(self.shared_names)
            product.append(f"q({names})")
            is_full = self.shared is not None and self.shared.is_full
            covariance = "full covariance" if is_full else "covariance of low rank"
            lines.append(f"  {names}: normal with {covariance}, free parameters")
        if self.unit and self.parents:
            product.append(f"prod_{self.unit.name}")
            for name, parents in self.parents.items():
                product.append(f"q({name} | {', '.join(['rows', *parents])})")
                lines.append(f"  {name}: {self.coordinates[name].description}, by a network")
        return "\n".join([" ".join(product), *lines])

    def _open_plates(self, num_units: int) -> dict[str, Any]:
        frames = {frame.name: frame for name in self.parents for frame in self.plates[name]}
        sizes = {name: frame.size for name, frame in frames.items()}
        sizes[cast(Unit, self.unit).name] = num_units
        return {n: pyro.plate(n, sizes[n], dim=frame.dim) for n, frame in frames.items()}

    # --- what the factors read --------------------------------------------------------------------

    def _rows(self, args: Sequence[Any]) -> Tensor:
        """Return the arguments' rows as numbers, ``units | columns``."""
        rows = [args[number] for number in cast(Unit, self.unit).rows]
        dtype = torch.get_default_dtype()
        return torch.cat([x.reshape(len(x), -1).to(dtype) for x in rows], -1)

    def _read(self, name: str, value: Tensor, num_units: int) -> Tensor:
        """Return a latent's standardised coordinates, ``particles, units | numbers``; 1 for shared ones."""
        scaling = cast(Scaling, self.scalings[_key(name)])
        free = (self.coordinates[name](value) - scaling.location) / scaling.scale
        left = free.shape[: max(0, free.dim() - 1 - self.nesting)]
        return free.reshape(*left, 1 if name in self.shared_names else num_units, -1)

    def _numbers(self, name: str) -> int:
        """Return how many numbers a factor reads of a latent."""
        cells = prod(
            p.size for p in self.plates[name] if not (self.unit and p.name == self.unit.name)
        )
        return cells * self.coordinates[name].size

    # --- how it is made ---------------------------------------------------------------------------

    def _learnt(self, name: str, draws: Sequence[poutine.Trace]) -> Scaling:
        """Return location and scale of a latent's coordinates under the prior."""
        size = self.coordinates[name].size
        free = [
            self.coordinates[name](cast(Site, draw.nodes[name])["value"]).reshape(-1, size)
            for draw in draws
        ]
        scaling = Scaling((size,)).to(free[0].device)
        scaling.learn(torch.cat(free), may_keep=False)
        return scaling

    def _factor(self, name: str, num_columns: int, network: NetworkFactory) -> AmortizedFactor:
        unit, scaling = cast(Unit, self.unit), cast(Scaling, self.scalings[_key(name)])
        cells = {plate.dim: plate.size for plate in self.plates[name] if plate.dim > unit.dim}
        sizes = [cells.get(dim, 1) for dim in range(unit.dim + 1, 0)]
        in_dim = num_columns + sum(map(self._numbers, self.parents[name]))
        return AmortizedFactor(
            self.coordinates[name], in_dim, sizes, network, scaling.location, scaling.scale
        )

    def _shared_guide(
        self, model: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> SharedNormal:
        """Return a normal distribution of all shared latents, which starts at their prior."""
        scalings = [cast(Scaling, self.scalings[_key(name)]) for name in self.shared_names]
        times = [self._numbers(n) // self.coordinates[n].size for n in self.shared_names]
        location, scale = (
            torch.cat([getattr(s, moment).repeat(k) for s, k in zip(scalings, times, strict=True)])
            for moment in ("location", "scale")
        )
        guide = SharedNormal(poutine.block(model, expose=list(self.shared_names)), location, scale)
        with undisturbed(as_program((model, guide)), 0):
            guide(*args, **kwargs)  # which shows it the latents' shapes
        return guide


def _key(name: str) -> str:
    """Return a site's name as that of a module."""
    return name.replace(".", "__")


def _without_guide(model: Any) -> Program:
    function = (
        model if callable(model) and not hasattr(model, "model") else getattr(model, "model", None)
    )
    if not callable(function):
        raise InputError(
            f"{type(model).__name__} is not a model",
            subject="model",
            expected="a Pyro model, or an object with `.model`",
        )
    return as_program((function, lambda *args, **kwargs: None))


def _prior_draws(
    target: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> list[poutine.Trace]:
    with undisturbed(target, 0), torch.no_grad():
        return [run("model", target.model, args, kwargs) for _ in range(PRIOR_DRAWS)]


def _to_draw(trace: poutine.Trace) -> list[str]:
    """Return the latents that the model does not sum out."""
    return [n for n, s in latent_sites(trace).items() if not s["infer"].get("enumerate")]


def _plates(site: Site) -> list[Any]:
    return [frame for frame in site["cond_indep_stack"] if frame.vectorized]


def _unit_of(trace: poutine.Trace, args: tuple[Any, ...], latents: Sequence[str]) -> Unit | None:
    """Return the plate of the units; None where no plate holds all observed sites and a latent.

    Raises:
        InputError: no argument has a row for each unit, or the plate takes a subsample of its own.
    """
    observed, sites = [*observed_sites(trace).values()], sample_sites(trace)
    for frame in _plates(observed[0]) if observed else ():
        if not all(frame in site["cond_indep_stack"] for site in observed):
            continue
        unit = Unit(frame.name, frame.dim, _with_rows(args, frame.size))
        if not any(unit.holds(sites[name]) for name in latents):
            continue
        if frame.full_size is not None and frame.full_size != frame.size:
            raise InputError(
                f"plate {frame.name!r} takes {frame.size:,} of {frame.full_size:,} units itself",
                subject=frame.name,
                remedy="pass the rows to the model, and make the plate as long as they are",
            )
        if not unit.rows:
            raise InputError(
                f"no argument has a row for each of the {frame.size:,} units of plate {frame.name!r}",
                subject=frame.name,
                remedy="pass the data to the model as an argument, units first",
            )
        return unit
    return None


def _with_rows(args: tuple[Any, ...], num_units: int) -> tuple[int, ...]:
    return tuple(
        number
        for number, argument in enumerate(args)
        if isinstance(argument, Tensor) and argument.dim() and len(argument) == num_units
    )


def _coordinates(name: str, draws: Sequence[poutine.Trace]) -> Coordinates:
    """Return a latent's coordinates.

    Raises:
        InputError: there are none, or the support depends on other latents.
    """
    first, other = (Coordinates.of(name, draw.nodes[name]["fn"]) for draw in draws[:2])
    middle = torch.zeros(first.shape)
    if not torch.equal(first.transform(middle), other.transform(middle)):
        raise InputError(
            f"the support of latent {name!r} depends on other latents",
            subject=name,
            expected="a support that stays the same",
            remedy=f"draw {name!r} from (0, 1), say, and scale it in the model",
        )
    return first


def _inverse(
    target: Program,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    trace: poutine.Trace,
    local: Sequence[str],
) -> dict[str, tuple[str, ...]]:
    """Return what each latent depends on given the data: first those summed out go, then a unit's own."""
    graph, _ = graph_and_warnings("model", target, [(args, kwargs)], ())
    graph = graph.without("data", "parameters", "deterministic")
    parents = {node.name: graph.parents(node.name) for node in graph.nodes}
    latents, drawn = [*latent_sites(trace)], _to_draw(trace)
    summed_out = [name for name in latents if name not in drawn]
    shared = [name for name in drawn if name not in local]
    return faithful_inverse(parents, [summed_out, local, shared])
