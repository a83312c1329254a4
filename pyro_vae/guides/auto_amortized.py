"""A guide made from a model: shared latents by free parameters, latents of a unit by networks."""

from typing import Any, cast

import pyro
from torch import Tensor, nn

from pyro_vae.errors import InputError
from pyro_vae.guides.along_model import Draw, draw_along
from pyro_vae.guides.factorisation import factorisation_of
from pyro_vae.guides.guide import GuideFactory
from pyro_vae.guides.model_facts import (
    check_supports,
    latent_of,
    latents_to_draw,
    plates_of,
    prior_draws,
    unit_of,
    without_guide,
)
from pyro_vae.guides.shared_latents import MOST_INPUTS, SharedLatents
from pyro_vae.guides.start import probable_draw
from pyro_vae.guides.unit_latents import UnitLatents
from pyro_vae.networks import MLP, NetworkFactory
from pyro_vae.program.trace import observed_sites, sample_sites


class AutoAmortized(nn.Module):
    """Make a guide for a model, from its plates and from what its values depend on.

    The units are those of the outermost plate that holds all observed sites (but those outside of all
    plates). A latent outside of it is shared by all units; the shared latents have free parameters, in
    unconstrained coordinates: one distribution together, or one for each cell of a plate where the data do
    not couple the cells. A unit's latents are drawn one after another, each from a distribution whose
    parameters a network gives: normal in unconstrained coordinates, or of the prior's own family. It reads
    the unit's rows of the arguments, and those shared and earlier latents on which the latent depends given
    the data: the faithful inverse of the model's graph (:func:`pyro_vae.graph.inverse.faithful_inverse`).
    Latents that repeat step by step share a network. ``print(guide)`` shows the factors.

    New rows need no training, if arguments have a row for each unit; else units have free parameters. The
    guide cannot draw discrete latents (the model must sum them out), nor from flat priors. It needs
    supports that neither differ from unit to unit nor depend on other latents, and plates that keep their
    sizes, but for the units'.

    Args:
        model: a Pyro model, or an object that has one as ``.model``.
        args: the arguments of a call. The first 1,000 rows are enough: the model runs 64 times.
        network: makes the network of each factor, from shapes of an input and an output.
        reader: makes a network that summarises a unit's rows for all factors (but a series'), from the
            shape of what it reads and (64,): ``ConvEncoder`` of images, ``DeepSets`` of groups of any size,
            ``partial(EmbeddedTokens, num_tokens=1000, network=DeepSets)`` of words. It reads the first
            argument whose rows have elements, images as they are, all else as (elements, columns), where
            arguments with as many elements add columns. The rest follows in a line. Without a reader,
            factors read all numbers in a line.
        family: makes the distribution of each latent of a unit, in unconstrained coordinates, from an input
            shape, their number and a network: a guide from the shelf such as ``MixtureNormal`` or
            ``partial(FlowGuide, flow=Coupling)``.
        shared_family: makes that of the shared latents which are drawn together.
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
      mean: skewed Student t with full covariance, free parameters
      effect: normal, by a network
    """

    def __init__(
        self,
        model: Any,
        *args: Any,
        network: NetworkFactory = MLP,
        reader: NetworkFactory | None = None,
        family: GuideFactory | None = None,
        shared_family: GuideFactory | None = None,
        **kwargs: Any,
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
        if reader is not None and self.unit is None:
            raise InputError(
                "no argument has a row for each unit, so there is nothing to read",
                subject="reader",
                remedy="pass the units' rows to the model, or leave reader out",
            )
        local = [n for n in latents if self.unit and self.unit.holds(sites[n])]
        shared = [n for n in latents if n not in local]
        nesting = max((-f.dim for s in sites.values() for f in plates_of(s)), default=0)
        known = {name: latent_of(name, draws) for name in latents}
        if self.unit:
            check_supports(target, self.unit, draws[0], args, kwargs)
        found = factorisation_of(target, args, kwargs, draws, local, known)
        self.frames = {frame.name: frame for latent in known.values() for frame in latent.frames}
        alone = {n: us for n, us in found.parents.items() if n in shared and n not in found.joint}
        self.shared = None
        if shared:
            self.shared = SharedLatents(known, found.joint, alone, nesting, shared_family)
        if self.shared and (draw := probable_draw(target, args, kwargs, draws, known)):
            self.shared.start_at(draw)
        self.local: UnitLatents | None = None
        if self.unit:
            parents = {
                n: [u for u in us if u in local or known[u].size <= MOST_INPUTS]
                for n, us in found.parents.items()
                if n in local
            }
            self.local = UnitLatents(
                self.unit, known, parents, args, network, nesting, reader, family
            )
        self._model = (target.model,)  # in a tuple, since it is no part of the guide
        self.along, self.informed = found.along, found.informed
        self.order = [n for n in found.parents if n not in (*found.joint, *self.along)]

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Draw the latents, and return them by name."""
        sizes = {name: frame.size for name, frame in self.frames.items()}
        if self.unit:
            sizes[self.unit.name] = len(args[self.unit.rows[0]])
        plates = {n: pyro.plate(n, sizes[n], dim=frame.dim) for n, frame in self.frames.items()}
        values, standardised = {}, {}
        if self.shared is not None and self.shared.joint is not None:
            values, standardised = self.shared.joint(plates)
        of_unit: Draw | None = None

        def draw(name: str, prior: Any) -> Tensor:
            nonlocal of_unit
            fn = prior if name in self.informed else None
            if self.local is None or name not in self.local.parents:
                return cast(SharedLatents, self.shared).draw(name, fn, plates, standardised)
            if of_unit is None:
                of_unit = self.local.drawing(args, plates, standardised)
            return of_unit(name, fn)

        for name in self.order:
            values[name] = draw(name, None)
        if self.along:
            draw_along(self._model[0], args, kwargs, values, self.along, draw)
        return values

    def __str__(self) -> str:
        parts = [part for part in (self.shared, self.local) if part is not None]
        lines = [f"  {name}: {words}" for p in parts for name, words in p.descriptions().items()]
        product = " ".join(part.product() for part in parts)
        return "\n".join([product or "nothing: the model sums all latents out", *lines])
