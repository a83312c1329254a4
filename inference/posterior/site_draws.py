"""Draws of a posterior by site, and what their weights say of each."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pyro_vae.errors import InputError, unknown
from pyro_vae.inference.evidence.psis import bad_k
from pyro_vae.inference.posterior.draw_tiles import UnitDraws
from pyro_vae.inference.posterior.source import Source
from pyro_vae.program.site_layout import SiteLayout


@dataclass(frozen=True, eq=False, repr=False)
class SiteDraws(UnitDraws):
    """Hold weighted draws of the latents, with the layouts of the model's sites.

    :class:`pyro_vae.inference.Posterior` says what each attribute is.
    """

    layouts: Mapping[str, SiteLayout]
    observed: tuple[str, ...]
    computed: tuple[str, ...]
    categories: Mapping[str, int]
    unit: str | None
    method: str
    num_chains: int
    num_islands: int
    is_weighted: bool
    is_independent: bool
    source: Source = field(repr=False)

    @cached_property
    def draws(self) -> dict[str, Tensor]:
        """The draws by site, ``draws | plates | event``, all with one weight."""
        return {name: self._taken(name) for name in self.particles}

    @cached_property
    def latents(self) -> dict[str, Tensor]:
        """The draws of the latents alone, without what is computed from them."""
        return {name: value for name, value in self.draws.items() if name not in self.computed}

    @property
    def num_draws(self) -> int:
        return len(self.index)

    @property
    def num_particles(self) -> int:
        """K."""
        return len(self.log_weights)

    @property
    def bad_k(self) -> float:
        """Pareto k above which K weights are too few: min(1 - 1 / log10 K, 0.7)."""
        return bad_k(self.num_particles)

    def dims(self, site: str) -> tuple[str, ...]:
        """Return the names of a site's dimensions behind the draws: its plates, then its event's.

        Raises:
            InputError: the model has no such site.
        """
        self._check_site(site, self.layouts)
        plates = self.layouts[site].plates
        return (*plates, *(f"{site}_dim_{i}" for i in range(self.layouts[site].event_dim)))

    def probabilities(self, site: str) -> Tensor:
        """Return the posterior probability of each class of a latent, ``plates | classes``.

        Raises:
            InputError: the values of the latent are not classes.

        >>> import pyro, pyro.distributions as dist
        >>> from pyro_vae import posterior
        >>> def model(x):
        ...     with pyro.plate("data", len(x)):
        ...         infer = {"enumerate": "parallel"}
        ...         which = pyro.sample("which", dist.Categorical(torch.ones(2)), infer=infer)
        ...         pyro.sample("x", dist.Normal(3.0 * which, 1.0), obs=x)
        >>> of_rows = posterior((model, lambda x: None), torch.tensor([0.0, 3.0]), seed=0)
        >>> of_rows.probabilities("which").round().long()
        tensor([[1, 0],
                [0, 1]])
        """
        self._check_site(site, self.categories)
        of_classes = self.indicators(site)
        return (self.weights(site, of_classes.dim()) * of_classes).sum(0)

    @cached_property
    def means(self) -> dict[str, Tensor]:
        """The posterior means by site, ``plates | event``; of one-hot classes their probabilities.

        A class that is a number has no mean: :meth:`probabilities` has its distribution.
        """
        found = {}
        for name, z in self.particles.items():
            if name not in self.categories or self.layouts[name].event_dim:
                mean = (self.weights(name, z.dim()) * z.double()).sum(0)
                found[name] = mean.to(torch.promote_types(z.dtype, torch.float32))
        return found

    def indicators(self, site: str) -> Tensor:
        """Return 1 where a particle has a class and 0 elsewhere, ``K | plates | classes``."""
        value, layout = self.particles[site], self.layouts[site]
        if layout.event_dim:  # one-hot
            return value.double()
        classes = torch.arange(self.categories[site])
        return (value.unsqueeze(-1) == classes).double()

    def weights(self, site: str, dim: int) -> Tensor:
        """Return the particles' weights in a shape that broadcasts against a site's ``dim`` dimensions."""
        shape, axis = [1] * dim, self.layouts[site].axis(self.unit)
        shape[0] = self.num_particles
        if axis is not None:
            shape[axis] = self.log_weights.shape[1]
        return self.log_weights.exp().reshape(shape)

    def num_of(self, num: int | None) -> int:
        """Return how many draws to use, by default all.

        Raises:
            InputError: there are not so many.
        """
        if num is not None and num > self.num_draws:
            raise InputError(
                f"num is {num:,}, and the posterior has {self.num_draws:,} draws",
                subject="num",
                expected=f"at most {self.num_draws:,}",
                remedy=f"draw more: posterior(..., num_draws={num})",
            )
        return num or self.num_draws

    def _taken(self, site: str) -> Tensor:
        value, axis = self.particles[site], self.layouts[site].axis(self.unit)
        if axis is None:
            return value[self.index[:, 0]]
        units = torch.arange(value.shape[axis])
        return value.movedim(axis, 1)[self.index, units].movedim(1, axis)

    def _check_site(self, site: str, known: Mapping[str, Any]) -> None:
        if site not in known:
            raise unknown(f"there is no such site {site!r} here", site, known, subject=str(site))

    def __repr__(self) -> str:
        sites = ", ".join(
            f"{name} {tuple(value.shape[1:])}" for name, value in self.particles.items()
        )
        return f"Posterior({self.num_draws:,} draws of {sites}; {self.method})"
