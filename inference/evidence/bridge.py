"""Bridge sampling: the evidence, from draws of the posterior and a density that is fitted to them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1, true_or_false
from pyro_vae.inference.annealing.paths import AnnealingPath, FromPrior
from pyro_vae.inference.annealing.reference import HEAVY, FromReference, Reference
from pyro_vae.inference.evidence.half_bridge import AT_ONCE, HalfBridge, bridge
from pyro_vae.inference.evidence.method import Advance, Estimator, Method, UnitEstimates, Workload
from pyro_vae.inference.evidence.missed_copies import (
    Missed,
    missed,
    scores_of_path,
    symmetrized_note,
)
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.prior_guide import with_prior_as_guide
from pyro_vae.program.symmetries import symmetries
from pyro_vae.program.symmetry import Symmetries, random_copies
from pyro_vae.program.trace import latent_sites
from pyro_vae.program.vmap import map_runs

CHECKS: dict[str, checks.Check] = {
    "draws": checks.instance(Mapping, "draws by site, {'mu': tensor (S | plates | event)}"),
    "num_chains": at_least_1,
    "symmetrize": true_or_false,
}
LEAST_DRAWS = 40  # of each chain's halves, one is fitted to and the other is weighed
LEAST_ESS = 50.0  # of the weighed draws, below which their error is a guess
APART = 0.05  # nats: a distance of a half's figure from the mean that matters
TAIL = "Pareto k of the draws"
SYMMETRIC = "Bridge(draws, symmetrize=True) puts a copy of each draw, taken at random, in its place"


@dataclass(frozen=True, eq=False)
class Bridge(Method):
    """Weigh draws of the posterior against a density that is fitted to them.

    A Student's t with the mean and covariance of one half of each chain, in unconstrained coordinates, and
    the prior, which gets a tenth of the draws, are the proposal g. The S/2 draws u_i of the other halves
    and K draws v_j of g give p(x) by the optimal bridge

        p(x) = (1/K) sum_j p(x, v_j) / h(v_j)  /  (2/S) sum_i g(u_i) / h(u_i),
        h(u) = s p(x, u) / p(x) + (1 - s) g(u),

    which is iterated, with s the share of the posterior's effective draws. The halves then change places,
    and the figure is the mean of both logs. The relative error takes the autocorrelation of the draws
    into account, and is at least half the distance of the two figures. A note says so where the draws
    were not enough, or where the posterior has a narrow part that the Student's t misses; there is then
    no error, nor where chains sit on one of several modes that are alike by a symmetry of the model. With
    ``symmetrize``, a copy by such symmetries, taken at random, replaces each draw: the components of a
    mixture in another order, say, or a factor with the other sign. Chains of one mode then stand for all
    of them. The estimate is not unbiased, so there is no certificate. The guide is not used.

    Source: X.-L. Meng, W. H. Wong, "Simulating ratios of normalizing constants via a simple identity",
    1996, https://www.jstor.org/stable/24306045; the error: S. Fruehwirth-Schnatter, "Estimating marginal
    likelihoods for mixture and Markov switching models using bridge sampling techniques", 2004,
    https://doi.org/10.1111/j.1368-423X.2004.00125.x; as R's bridgesampling: Q. F. Gronau et al., "A
    tutorial on bridge sampling", 2017, https://arxiv.org/abs/1703.05984.

    Args:
        draws: of the posterior, by site, ``S | plates | event``, all with one weight.
        num_chains: how many chains follow one another in the draws.
        symmetrize: whether to replace draws by copies, by symmetries that the model shows.

    Raises:
        InputError: later, where the draws are not those of the model's latents, or fewer than 40 a chain;
            where a latent is discrete and not summed out; where the data come in several tiles.

    >>> import pyro, pyro.distributions as dist
    >>> from pyro_vae import log_evidence
    >>> def model(x):
    ...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    ...     with pyro.plate("data", len(x)):
    ...         pyro.sample("x", dist.Normal(mean, 1.0), obs=x)
    >>> x = torch.tensor([2.0, 3.0, 4.0])
    >>> draws = {"mean": dist.Normal(9 / 4, 1 / 2).sample((1000,))}
    >>> evidence = log_evidence(model, x, method=Bridge(draws), seed=0)
    >>> exact = dist.MultivariateNormal(torch.zeros(3), torch.eye(3) + 1).log_prob(x)
    >>> bool((evidence.log_evidence - exact).abs() < 5 * evidence.standard_error)
    True
    """

    draws: Mapping[str, Tensor] = field(repr=False)
    num_chains: int = 1
    symmetrize: bool = False

    num_particles = 2000
    is_unbiased = False

    def __post_init__(self) -> None:
        checks.check_arguments(CHECKS, vars(self))
        sizes = {name: len(value) for name, value in self.draws.items() if _is_draws(name, value)}
        if len(set(sizes.values())) != 1:
            raise InputError(
                f"the draws are {sizes or 'of no site'}",
                subject="draws",
                expected="as many of each site",
            )
        if self.num_draws % self.num_chains or self.num_draws // self.num_chains < LEAST_DRAWS:
            raise InputError(
                f"{self.num_draws:,} draws of {self.num_chains} chains",
                subject="draws",
                expected=f"at least {LEAST_DRAWS} of each chain, of all as many",
            )

    @property
    def num_draws(self) -> int:
        """S."""
        return len(next(iter(self.draws.values())))

    @property
    def description(self) -> str:
        chains = f" of {self.num_chains} chains" if self.num_chains > 1 else ""
        orders = ", in random symmetric copies," if self.symmetrize else ""
        return (
            f"bridge sampling with {self.num_draws:,} draws of the posterior{chains}{orders} and a "
            "Student's t that is fitted to one half of them, and then to the other"
        )

    def program(self, program: Any) -> Any:
        return with_prior_as_guide(program)

    def estimator(self, example: BoundProgram, work: Workload) -> Estimator:
        if len(work.tile_sizes) > 1:
            raise InputError(
                f"the data come in {len(work.tile_sizes)} tiles of independent units",
                subject="method",
                expected="units in one tile, or one joint evidence",
                remedy="weigh independent units by importance sampling or annealing",
            )
        path = _by_runs(example)
        if not path.coordinates.free.all():
            raise InputError(
                "the model masks a part of a latent, which has no density to bridge",
                subject="method",
                remedy="take method='smc' or method='ais'",
            )
        self._coordinates(path)
        found = symmetries(example) if self.symmetrize else ()

        def estimate(bound_program: BoundProgram, advance: Advance) -> Iterator[Bridged]:
            path = _by_runs(bound_program)
            u = self._coordinates(path, found).unflatten(0, (self.num_chains, -1))
            half = u.shape[1] // 2
            halves, both = (u[:, :half], u[:, half:]), []
            for fitted, weighed in (halves, halves[::-1]):
                both.append(bridge(path, fitted, weighed, work.num_particles))
                advance(0.5)
            yield Bridged(work.num_particles, *both)

        return estimate

    def notes(self, estimates: UnitEstimates, example: BoundProgram) -> tuple[str, ...]:
        halves, errors = estimates.indicative, estimates.standard_error
        apart, found = (halves["first half"] - halves["second half"]).abs() / 2, list[str]()
        few = (estimates.ess < LEAST_ESS) | ((apart > APART) & ~(apart < errors))
        if few.any():
            found.append(
                "the draws were not enough: the figures from their two halves lie "
                f"{float(2 * apart[few].max()):.2g} nats apart, and those that were weighed are worth "
                f"{float(estimates.ess[few].min()):,.0f} independent ones. Run longer chains, and check "
                "that they agree (R-hat)"
            )
        if bool((halves[TAIL] > HEAVY).any()):
            found.append(
                "the fitted density misses a part of the posterior, as the neck of a funnel: the bridge "
                "has no error. Longer chains, another parameterisation or SMC help"
            )
        if self.symmetrize:
            found.extend(symmetrized_note(example, "Copies of the draws were taken at random"))
        return tuple(found)

    def missed(self, example: BoundProgram, num_particles: int) -> Missed | None:
        """Return what chains leave out that do not move between the copies: of all chains the most.

        Where they sit on several of them, chance decides on how many.
        """
        found = () if self.symmetrize else symmetries(example)
        if not found:
            return None
        path = FromPrior(example.single())
        every, of_chains = self._coordinates(_by_runs(example)), list[Missed]()
        for u in every.unflatten(0, (self.num_chains, -1)):
            fitted = FromReference(path, Reference.of(u, torch.ones_like(path.coordinates.free)))
            scores = scores_of_path(fitted, partial(_one_of, u))
            one = missed(found, scores, len(u), "a chain", SYMMETRIC)
            of_chains += [] if one is None else [one]
        return max(of_chains, key=lambda one: one.nats, default=None)

    def _coordinates(self, path: AnnealingPath, found: Symmetries = ()) -> Tensor:
        """Return the draws, or random copies by some symmetries, in the path's coordinates, (S, U, D)."""
        values = {name: self._checked(name, site) for name, site in _latents(path).items()}
        values = random_copies(values, found)
        u = at_latents(path, values)
        if not u.isfinite().all():
            raise InputError(
                "some draws lie outside of the prior's support",
                subject="draws",
                expected="draws of the posterior, in the model's own coordinates",
            )
        return u

    def _checked(self, name: str, site: Mapping[str, Any]) -> Tensor:
        if name not in self.draws:
            raise InputError(
                f"the draws lack the latent {name!r}",
                subject=name,
                expected="draws of every latent",
            )
        value, shape = self.draws[name], site["value"].shape
        if value.shape[1:] != shape:
            raise InputError(
                f"the draws of {name!r} have the shape {tuple(value.shape)}",
                subject=name,
                expected=f"(S, {', '.join(map(str, shape))})" if shape else "(S,)",
            )
        if (value == value[0]).all(0).any():
            raise InputError(
                f"the draws of {name!r}, or of a part of it, are all the same number",
                subject=name,
                expected="draws of the posterior, which differ",
            )
        return value.to(site["value"])


def _one_of(u: Tensor) -> Tensor:
    return u[torch.randint(len(u), (1,))]


def _is_draws(name: str, value: Any) -> bool:
    if isinstance(value, Tensor) and value.dim():
        return True
    raise InputError(
        f"the draws of {name!r} are {type(value).__name__}",
        subject=name,
        expected="a tensor, S | plates | event",
    )


def _by_runs(bound_program: BoundProgram) -> AnnealingPath:
    """Return the path whose runs have the shapes of a single run, as draws of a posterior have."""
    return FromPrior(replace(bound_program.single(), by_vmap=True))


def _latents(path: AnnealingPath) -> dict[str, Any]:
    sites = latent_sites(path.bound_program.model(1))
    return {name: sites[name] for name in path.coordinates.blocks}


def at_latents(path: AnnealingPath, values: Mapping[str, Tensor]) -> Tensor:
    """Return the coordinates (S, U, D) of S draws of all latents, ``S | plates | event``."""

    def one(values: Mapping[str, Tensor]) -> Tensor:
        trace = poutine.Trace()
        for name, value in values.items():
            trace.add_node(name, name=name, type="sample", value=value, is_observed=False, infer={})
        return path.coordinates_of(trace)[0]

    size = len(next(iter(values.values())))
    if path.bound_program.by_vmap:
        coordinates: Tensor = map_runs(one, size, dict(values), at_once=AT_ONCE)
        return coordinates
    return torch.stack([one({n: v[i] for n, v in values.items()}) for i in range(size)])


@dataclass(frozen=True)
class Bridged:
    """Hold the estimates with either half as the one that is weighed."""

    count: int
    second: HalfBridge
    first: HalfBridge

    def unit_estimates(self) -> UnitEstimates:
        one, other = self.first, self.second
        ess, tail = one.ess + other.ess, torch.maximum(one.tail, other.tail)
        apart = (one.log_evidence - other.log_evidence).abs() / 2
        error = torch.maximum(torch.hypot(one.error, other.error) / 2, apart)
        return UnitEstimates(
            (one.log_evidence + other.log_evidence) / 2,
            torch.where((ess < LEAST_ESS) | (tail > HEAVY), math.nan, error),
            ess,
            torch.full_like(ess, math.nan),
            indicative={
                "first half": one.log_evidence,
                "second half": other.log_evidence,
                TAIL: tail,
            },
        )
