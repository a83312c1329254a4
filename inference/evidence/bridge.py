"""Bridge sampling: the evidence, from draws of the posterior and a density that is fitted to them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae import argument_checks as checks
from pyro_vae.errors import InputError, at_least_1
from pyro_vae.inference.annealing.paths import AnnealingPath, FromPrior
from pyro_vae.inference.annealing.reference import HEAVY, FromReference, Reference, tail_index
from pyro_vae.inference.evidence.label_notes import one_mode_note, scores_of_path
from pyro_vae.inference.evidence.method import Advance, Estimator, Method, UnitEstimates, Workload
from pyro_vae.program.bound_program import BoundProgram
from pyro_vae.program.prior_guide import with_prior_as_guide
from pyro_vae.program.trace import latent_sites
from pyro_vae.program.vmap import map_runs

CHECKS: dict[str, checks.Check] = {
    "draws": checks.instance(Mapping, "draws by site, {'mu': tensor (S | plates | event)}"),
    "num_chains": at_least_1,
}
LEAST_DRAWS = 40  # of each chain's halves, one is fitted to and the other is weighed
LEAST_ESS = 50.0  # of the weighed draws, below which their error is a guess
TOLERANCE, MAX_ITERATIONS = 1e-10, 1000
APART = 0.05  # nats: a distance of a half's figure from the mean that matters
TAIL = "Pareto k of the draws"
PRIOR_SHARE = 0.1  # of the proposals
AT_ONCE = 1024  # draws scored together
SYMMETRIC = "Give each draw its labels in a random order, or take SMC(start='prior')"


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
    no error. The estimate is not unbiased, so there is no certificate. The guide is not used.

    Source: X.-L. Meng, W. H. Wong, "Simulating ratios of normalizing constants via a simple identity",
    1996, https://www.jstor.org/stable/24306045; the error: S. Fruehwirth-Schnatter, "Estimating marginal
    likelihoods for mixture and Markov switching models using bridge sampling techniques", 2004,
    https://doi.org/10.1111/j.1368-423X.2004.00125.x; as R's bridgesampling: Q. F. Gronau et al., "A
    tutorial on bridge sampling", 2017, https://arxiv.org/abs/1703.05984.

    Args:
        draws: of the posterior, by site, ``S | plates | event``, all with one weight.
        num_chains: how many chains follow one another in the draws.

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
        return (
            f"bridge sampling with {self.num_draws:,} draws of the posterior{chains} and a Student's t "
            "that is fitted to one half of them, and then to the other"
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

        def estimate(bound_program: BoundProgram, advance: Advance) -> Iterator[Bridged]:
            path = _by_runs(bound_program)
            u = self._coordinates(path).unflatten(0, (self.num_chains, -1))
            half = u.shape[1] // 2
            halves, both = (u[:, :half], u[:, half:]), []
            for fitted, weighed in (halves, halves[::-1]):
                both.append(_bridge(path, fitted, weighed, work.num_particles))
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
        return (*found, *self._label_notes(example))

    def _label_notes(self, example: BoundProgram) -> tuple[str, ...]:
        if example.structure.unit is not None:
            return ()
        path = FromPrior(example.single())
        u = self._coordinates(_by_runs(example))
        fitted = FromReference(path, Reference.of(u, torch.ones_like(path.coordinates.free)))
        scores = scores_of_path(fitted, lambda: u[torch.randint(len(u), (1,))])
        return one_mode_note(example, scores, "the posterior", SYMMETRIC)

    def _coordinates(self, path: AnnealingPath) -> Tensor:
        """Return the draws in the path's coordinates, (S, U, D)."""
        values = {name: self._checked(name, site) for name, site in _latents(path).items()}
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


# --- the bridge between one half's density and the other half ---------------------------------------


@dataclass(frozen=True)
class HalfBridge:
    """Hold log p(x), its relative error the effective number of the weighed draws and the Pareto k of
    their weights against the fitted density, each ``units |``."""

    log_evidence: Tensor
    error: Tensor
    ess: Tensor
    tail: Tensor


def _bridge(path: AnnealingPath, fitted: Tensor, weighed: Tensor, num_particles: int) -> HalfBridge:
    """Return the estimate from draws (chains, N, U, D) that are fitted to, and others that are weighed."""
    reference = Reference.of(fitted.flatten(0, 1), torch.ones_like(path.coordinates.free))
    proposal = FromReference(path, reference, PRIOR_SHARE)
    at_draws = _log_ratio(proposal, weighed.flatten(0, 1))
    at_proposals = _log_ratio(proposal, proposal.draw(num_particles))
    ess = effective_size(weighed.flatten(2)).unflatten(-1, weighed.shape[2:]).median(-1).values
    log_evidence = iterate(at_draws, at_proposals, ess)
    error, effective = _relative_error(at_draws, at_proposals, ess, log_evidence, len(weighed))
    of_fit = _log_ratio(FromReference(path, reference), weighed.flatten(0, 1))
    return HalfBridge(log_evidence, error, effective, tail_index(of_fit))


def _log_ratio(proposal: AnnealingPath, u: Tensor) -> Tensor:
    """Return log p(x, u) - log g(u), (K, U), float64."""
    pairs = [proposal.log_densities(some) for some in u.split(AT_ONCE)]
    ratio = torch.cat([end.double() - start.double() for start, end in pairs])
    return ratio.nan_to_num(-math.inf, math.inf, -math.inf)


def iterate(at_draws: Tensor, at_proposals: Tensor, ess: Tensor) -> Tensor:
    """Return log p(x), ``units |``, as the fixed point of the optimal bridge.

    Args:
        at_draws: log p(x, u) - log g(u) at draws of the posterior, (N, U).
        at_proposals: the same at draws of g, (K, U).
        ess: how many independent draws the first are worth, ``units |``.
    """
    share = ess / (ess + len(at_proposals))
    log_s, log_rest = share.log(), (-share).log1p()
    log_evidence = at_proposals.logsumexp(0) - math.log(len(at_proposals))
    for _ in range(MAX_ITERATIONS):
        rest = log_rest + log_evidence
        above = (at_proposals - torch.logaddexp(log_s + at_proposals, rest)).logsumexp(0)
        below = (-torch.logaddexp(log_s + at_draws, rest)).logsumexp(0)
        after = above - below + math.log(len(at_draws) / len(at_proposals))
        moved = (after - log_evidence).abs().nan_to_num(0.0).max()
        log_evidence = after
        if moved < TOLERANCE:
            break
    return log_evidence


def _relative_error(
    at_draws: Tensor, at_proposals: Tensor, ess: Tensor, log_evidence: Tensor, num_chains: int
) -> tuple[Tensor, Tensor]:
    """Return the standard error of log p(x), and the effective number of draws for the denominator."""
    share = ess / (ess + len(at_proposals))
    log_s, log_rest = share.log(), (-share).log1p()
    draws, proposals = at_draws - log_evidence, at_proposals - log_evidence  # posterior over g
    above = (proposals - torch.logaddexp(log_s + proposals, log_rest)).exp()
    below = (-torch.logaddexp(log_s + draws, log_rest)).exp()
    effective = effective_size(below.unflatten(0, (num_chains, -1))).clamp(max=len(below))
    squared = above.var(0) / above.mean(0).square() / len(above)
    squared = squared + below.var(0) / below.mean(0).square() / effective
    return squared.sqrt(), effective


def effective_size(chains: Tensor) -> Tensor:
    """Return the effective number of draws for the mean of each of some quantities.

    Args:
        chains: (chains, draws, quantities).

    >>> bool((effective_size(torch.randn(2, 5000, 3)) > 8000).all())
    True
    """
    import arviz
    import xarray

    data = xarray.Dataset({"x": (("chain", "draw", "of"), chains.double().cpu().numpy())})
    sizes = torch.as_tensor(arviz.ess(data, method="mean")["x"].values.copy())
    total = float(chains.shape[0] * chains.shape[1])
    return sizes.nan_to_num(total).to(chains.device)  # of a constant


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
