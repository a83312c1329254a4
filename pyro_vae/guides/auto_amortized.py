"""A guide made from a model: shared latents by free parameters, latents of a unit by networks."""

from collections.abc import Sequence
from contextlib import ExitStack
from math import prod
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.guides.amortized_factor import AmortizedFactor
from pyro_vae.guides.model_facts import (
    Unit,
    check_supports,
    coordinates_of,
    inverse_of,
    latents_to_draw,
    plates_of,
    prior_draws,
    unit_of,
    without_guide,
)
from pyro_vae.guides.shared_normal import SharedLatent, SharedNormal
from pyro_vae.networks import MLP, NetworkFactory
from pyro_vae.program.trace import Site, observed_sites, sample_sites
from pyro_vae.scaling import Scaling


class AutoAmortized(nn.Module):
    """Make a guide for a model, from its plates and from what its values depend on.

    The units are those of the outermost plate that holds all observed sites (but those outside of all
    plates). A latent outside of it is shared by all units; the shared latents have one normal distribution
    with free parameters, in unconstrained coordinates. A unit's latents are drawn one after another, each
    from a normal distribution whose parameters a network gives. It reads the unit's rows of the arguments,
    and those shared and earlier latents on which the latent depends given the data: the faithful inverse of
    the model's graph (:func:`pyro_vae.graph.inverse.faithful_inverse`). ``print(guide)`` shows the factors.

    New rows need no training. The guide cannot draw discrete latents (the model must sum them out), nor
    from flat priors. It needs arguments with one row a unit, supports that neither differ from unit to
    unit nor depend on other latents, and plates within a unit that keep their sizes.

    Args:
        model: a Pyro model, or an object that has one as ``.model``.
        args: the arguments of a call. The first 1,000 rows are enough: the model runs 64 times.
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
        target = without_guide(model)
        draws = prior_draws(target, args, kwargs)
        sites, latents = sample_sites(draws[0]), latents_to_draw(draws[0])
        if not observed_sites(draws[0]):
            raise InputError(
                f"the model ({type(model).__name__}) observes nothing",
                subject="model",
                expected="a Pyro model",
                remedy="pass its data to `pyro.sample` as obs=",
            )
        self.unit = unit_of(target, draws[0], args, kwargs, latents)
        local = [n for n in latents if self.unit and self.unit.holds(sites[n])]
        shared = [n for n in latents if n not in local]
        self.nesting = max((-f.dim for s in sites.values() for f in plates_of(s)), default=0)
        self.plates = {name: plates_of(sites[name]) for name in latents}
        self.coordinates = {name: coordinates_of(name, draws) for name in latents}
        if self.unit:
            check_supports(target, self.unit, draws[0], args, kwargs)
        inverse = inverse_of(target, args, kwargs, draws[0], local)
        self.parents = {n: [u for u in inverse[n] if u in latents] for n in inverse if n in local}
        self.scalings, self.factors = nn.ModuleDict(), nn.ModuleDict()
        self.keys = {name: _key(name, number) for number, name in enumerate(latents)}
        for name in latents:
            self.scalings[self.keys[name]] = self._learnt(name, draws)
        self.shared = self._shared_guide(shared) if shared else None
        if self.unit:
            rows = self._rows(args)
            self.row_scaling = Scaling(rows.shape[-1:]).to(rows.device)
            self.row_scaling.learn(rows)
            for name in local:
                self.factors[self.keys[name]] = self._factor(name, rows.shape[-1], network)
            self.to(rows.device)

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Draw the latents, and return them by name."""
        frames = {frame.name: frame for each in self.plates.values() for frame in each}
        sizes = {name: frame.size for name, frame in frames.items()}
        if self.unit:
            rows = self._rows(args)
            sizes[self.unit.name] = len(rows)
        plates = {n: pyro.plate(n, sizes[n], dim=frame.dim) for n, frame in frames.items()}
        values = {} if self.shared is None else self.shared(plates)
        if not self.unit:
            return values
        read = ((rows - self.row_scaling.location) / self.row_scaling.scale).nan_to_num(0.0)
        for name, parents in self.parents.items():
            inputs = [read, *(self._read(parent, values[parent]) for parent in parents)]
            batch = torch.broadcast_shapes(*(x.shape[:-1] for x in inputs))
            joined = torch.cat([x.expand(*batch, x.shape[-1]) for x in inputs], -1)
            with ExitStack() as stack:
                for frame in self.plates[name]:
                    stack.enter_context(plates[frame.name])
                values[name] = pyro.sample(name, self.factors[self.keys[name]](joined))
        return values

    def __str__(self) -> str:
        product, lines = [], []
        if self.shared is not None:
            names = ", ".join(self.shared.latents)
            product.append(f"q({names})")
            covariance = "full covariance" if self.shared.is_full else "covariance of low rank"
            lines.append(f"  {names}: normal with {covariance}, free parameters")
        if self.unit:
            product.append(f"prod_{self.unit.name}")
            for name, parents in self.parents.items():
                product.append(f"q({name} | {', '.join(['rows', *parents])})")
                lines.append(f"  {name}: {self.coordinates[name].description}, by a network")
        return "\n".join([" ".join(product), *lines])

    # --- what the factors read --------------------------------------------------------------------

    def _rows(self, args: Sequence[Any]) -> Tensor:
        """Return the arguments' rows as numbers, ``units | columns``.

        Raises:
            InputError: they have unlike lengths.
        """
        rows = [args[number] for number in cast(Unit, self.unit).rows]
        if len({len(x) for x in rows}) > 1:
            lengths = ", ".join(f"{len(x):,}" for x in rows)
            raise InputError(
                f"the guide reads rows of arguments {cast(Unit, self.unit).rows}, which now have "
                f"{lengths} of them",
                subject=cast(Unit, self.unit).name,
                expected="as many rows of each",
                remedy="pass what is no row to the model by its name",
            )
        dtype = torch.get_default_dtype()
        return torch.cat([x.reshape(len(x), -1).to(dtype) for x in rows], -1)

    def _read(self, name: str, value: Tensor) -> Tensor:
        """Return a latent's standardised coordinates, ``particles, units | numbers``; 1 for shared ones."""
        scaling = cast(Scaling, self.scalings[self.keys[name]])
        free = (self.coordinates[name](value) - scaling.location) / scaling.scale
        batch = (1,) * (self.nesting + 1 - free.dim()) + tuple(free.shape[:-1])
        free = free.reshape(*batch, free.shape[-1])
        unit, particles = cast(Unit, self.unit), batch[: len(batch) - self.nesting]
        if name in self.parents:
            free = free.movedim(unit.dim - 1, len(particles))
            return free.reshape(*particles, free.shape[len(particles)], -1)
        return free.reshape(*particles, 1, -1)

    def _cells(self, name: str) -> list[int]:
        """Return the sizes of a latent's plates by dimension, but for the unit's; 1 where it has none."""
        sizes = {frame.dim: frame.size for frame in self.plates[name]}
        dims = [dim for dim in range(-self.nesting, 0) if not self.unit or dim != self.unit.dim]
        return [sizes.get(dim, 1) for dim in dims]

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
        scaling, cells = cast(Scaling, self.scalings[self.keys[name]]), self._cells(name)
        shared = self.shared.latents if self.shared is not None else {}
        read = (
            shared[u].size if u in shared else prod(self._cells(u)) * self.coordinates[u].size
            for u in self.parents[name]
        )
        return AmortizedFactor(
            self.coordinates[name],
            num_columns + sum(read),
            cells,
            cast(Unit, self.unit).dim,
            max(-frame.dim for frame in self.plates[name]),
            network,
            scaling.location,
            scaling.scale,
        )

    def _shared_guide(self, names: Sequence[str]) -> SharedNormal:
        """Return a normal distribution of all shared latents, which starts at their prior."""
        latents, scalings = {}, []
        for name in names:
            frames = self.plates[name]
            depth = max((-frame.dim for frame in frames), default=0)
            sizes = {frame.dim: frame.size for frame in frames}
            cells = tuple(sizes.get(dim, 1) for dim in range(-depth, 0))
            plates = tuple(frame.name for frame in frames)
            latents[name] = SharedLatent(self.coordinates[name], plates, cells)
            scalings.append((cast(Scaling, self.scalings[self.keys[name]]), prod(cells)))
        location, scale = (
            torch.cat([getattr(scaling, moment).repeat(k) for scaling, k in scalings])
            for moment in ("location", "scale")
        )
        return SharedNormal(latents, location, scale, self.nesting)


def _key(name: str, number: int) -> str:
    """Return a site's name as a module's, or a number where no module can have this name."""
    is_taken = name.startswith("site_") or hasattr(nn.ModuleDict(), name)
    return f"site_{number}" if "." in name or is_taken else name
