"""Discrete latents: summed out where they are marked for it, drawn where the guide draws them."""

import itertools

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.ops.indexing import Vindex
from torch import Tensor

from oracles.oracle import Parts, oracle

SUMMED = {"enumerate": "parallel"}


@oracle()
def enumerated_component() -> Parts:
    """The component of a mixture is summed out, the location within it drawn; scales do not count."""
    locs, weights = torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([0.2, 0.5, 0.3])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)), poutine.scale(scale=0.1):
            which = pyro.sample("which", dist.Categorical(weights), infer=SUMMED)
            z = pyro.sample("z", dist.Normal(locs[which], 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.9 * x, 0.7))

    x = 2 * torch.randn(12)
    exact = (dist.Normal(locs, 1.25**0.5).log_prob(x[:, None]) + weights.log()).logsumexp(-1)
    return (model, guide), (x,), exact


@oracle()
def two_enumerated() -> Parts:
    """One summed-out latent chooses another's weights; both tell of z, one of a count."""
    weights, rates = torch.tensor([0.3, 0.7]), torch.tensor([0.5, 2.0, 5.0])
    given, locs = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]), torch.randn(2, 3)

    def model(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.Categorical(weights), infer=SUMMED)
            b = pyro.sample("b", dist.Categorical(given[a]), infer=SUMMED)
            z = pyro.sample("z", dist.Normal(Vindex(locs)[a, b], 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)
            pyro.sample("y", dist.Poisson(rates[b]), obs=y)

    def guide(x: Tensor, y: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.8 * x, 0.7))

    x, y = torch.randn(10), torch.randint(0, 6, (10,)).float()
    terms = (weights[:, None] * given).log() + dist.Poisson(rates).log_prob(y[:, None, None])
    terms = terms + dist.Normal(locs, 1.25**0.5).log_prob(x[:, None, None])
    return (model, guide), (x, y), terms.flatten(1).logsumexp(-1)


@oracle()
def enumerated_within_the_unit() -> Parts:
    """Of each of a unit's three values it is summed out whether it is an outlier."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            with pyro.plate("values", 3, dim=-1):
                outlier = pyro.sample("outlier", dist.Bernoulli(0.3), infer=SUMMED)
                pyro.sample("x", dist.Normal(z, 0.5 + 2.5 * outlier), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", dist.Normal(0.5 * x.mean(-1, keepdim=True), 1.0))

    x, terms = 1.5 * torch.randn(10, 3), []
    for outlier in map(torch.tensor, itertools.product([0.0, 1.0], repeat=3)):
        covariance = torch.ones(3, 3) + (0.5 + 2.5 * outlier).square().diag()
        p = dist.MultivariateNormal(torch.zeros(3), covariance)
        terms.append(p.log_prob(x) + dist.Bernoulli(0.3).log_prob(outlier).sum())
    return (model, guide), (x,), torch.stack(terms).logsumexp(0)


@oracle()
def enumerated_twice_over() -> Parts:
    """A kind for each unit, and for each of its two values (on the left) an outlier that depends on it."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            kind = pyro.sample("kind", dist.Bernoulli(0.3), infer=SUMMED)
            z = pyro.sample("z", dist.Normal(3 * kind, 1.0))
            with pyro.plate("values", 2, dim=-2):
                outlier = pyro.sample("outlier", dist.Bernoulli(0.2 + 0.5 * kind), infer=SUMMED)
                pyro.sample("x", dist.Normal(z, 0.5 + 2 * outlier), obs=x.T)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(0.6 * x.mean(-1) + 0.5, 1.4))

    x, terms = 1 + 2 * torch.randn(8, 2), []
    for kind, *outlier in itertools.product([0.0, 1.0], repeat=3):
        scales = 0.5 + 2 * torch.tensor(outlier)
        p = dist.MultivariateNormal(torch.full((2,), 3 * kind), 1 + scales.square().diag())
        flips = dist.Bernoulli(0.2 + 0.5 * kind).log_prob(torch.tensor(outlier)).sum()
        terms.append(p.log_prob(x) + flips + dist.Bernoulli(0.3).log_prob(torch.tensor(kind)))
    return (model, guide), (x,), torch.stack(terms).logsumexp(0)


@oracle()
def hidden_markov() -> Parts:
    """Ragged sequences: the states are summed out, the unit's own level is drawn."""
    transition, locs = torch.tensor([[0.8, 0.2], [0.3, 0.7]]), torch.tensor([-1.0, 1.0])

    def model(x: Tensor, lengths: Tensor) -> None:
        with pyro.plate("sequences", len(x)):
            level, state = pyro.sample("level", dist.Normal(0.0, 1.0)), 0
            for t in pyro.markov(range(x.shape[1])):
                with poutine.mask(mask=t < lengths):
                    p = dist.Categorical(transition[state])
                    state = pyro.sample(f"state_{t}", p, infer=SUMMED)
                    pyro.sample(f"x_{t}", dist.Normal(level + locs[state], 1.0), obs=x[:, t])

    def guide(x: Tensor, lengths: Tensor) -> None:
        with pyro.plate("sequences", len(x)):
            pyro.sample("level", dist.Normal(0.5 * x[:, 0], 1.0))

    def forward(values: Tensor) -> Tensor:
        """log p(values) by the forward algorithm, over a grid of levels."""
        level = torch.linspace(-8, 8, 2001).double().unsqueeze(-1)  # (L, 1)
        log_p = transition[0].log()
        for t, value in enumerate(values):
            if t:
                log_p = (log_p.unsqueeze(-1) + transition.log()).logsumexp(-2)
            log_p = log_p + dist.Normal(level + locs, 1.0).log_prob(value)
        at_level = log_p.logsumexp(-1) + dist.Normal(0.0, 1.0).log_prob(level[:, 0])
        return (at_level.exp().sum() * 16 / 2000).log()

    x, lengths = 1.5 * torch.randn(6, 5), torch.tensor([5, 1, 2, 3, 4, 5])
    exact = [forward(row[:n].double()) for row, n in zip(x, lengths, strict=True)]
    return (model, guide), (x, lengths), torch.stack(exact)


@oracle()
def joint_mixture() -> Parts:
    """The weights of a mixture are shared and drawn, the components of five data summed out."""
    locs, prior = torch.tensor([-1.0, 1.0]), torch.tensor([1.0, 2.0])

    def model(x: Tensor) -> None:
        weights = pyro.sample("weights", dist.Dirichlet(prior))
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Categorical(weights), infer=SUMMED)
            pyro.sample("x", dist.Normal(locs[which], 1.0), obs=x)

    def guide(x: Tensor) -> None:
        pyro.sample("weights", dist.Dirichlet(0.9 * prior))

    x, terms = 1.5 * torch.randn(5), []
    for which in map(torch.tensor, itertools.product([0, 1], repeat=5)):
        counts = torch.bincount(which, minlength=2)
        ordered = torch.lgamma(prior + counts).sum() - torch.lgamma(prior.sum() + 5)
        terms.append(ordered + dist.Normal(locs[which], 1.0).log_prob(x).sum())
    normaliser = torch.lgamma(prior.sum()) - torch.lgamma(prior).sum()
    return (model, guide), (x,), (torch.stack(terms).logsumexp(0) + normaliser).reshape(1)


@oracle(continuous=False)
def drawn_component() -> Parts:
    """A component that the guide draws, though the model marks it, and a location that depends on it."""
    locs, weights = torch.tensor([-2.0, 0.0, 3.0]), torch.tensor([0.2, 0.5, 0.3])

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Categorical(weights), infer=SUMMED)
            z = pyro.sample("z", dist.Normal(locs[which], 1.0))
            pyro.sample("x", dist.Normal(z, 0.5), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            which = pyro.sample("which", dist.Categorical(torch.ones(3)))
            pyro.sample("z", dist.Normal(0.8 * x + 0.2 * locs[which], 0.6))

    return (model, guide), enumerated_component.args, enumerated_component.exact


@oracle(continuous=False)
def binary_vectors() -> Parts:
    """Three bits, drawn together as one event."""
    loadings = torch.randn(3)

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            bits = pyro.sample("bits", dist.Bernoulli(0.4 * torch.ones(3)).to_event(1))
            pyro.sample("x", dist.Normal(bits @ loadings, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("bits", dist.Bernoulli(0.5 * torch.ones(len(x), 3)).to_event(1))

    x, bits = torch.randn(12), torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)))
    terms = dist.Normal(bits @ loadings, 1.0).log_prob(x[:, None])
    terms = terms + dist.Bernoulli(0.4).log_prob(bits).sum(-1)
    return (model, guide), (x,), terms.logsumexp(-1)


@oracle(continuous=False)
def countless_values() -> Parts:
    """A count without a bound."""

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            n = pyro.sample("n", dist.Poisson(3.0))
            pyro.sample("x", dist.Normal(n, 1.0), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("n", dist.Poisson(x.clamp(min=0.0) / 2 + 1.5))

    x, n = 3 + 1.5 * torch.randn(12), torch.arange(80.0)
    terms = dist.Normal(n, 1.0).log_prob(x[:, None]) + dist.Poisson(3.0).log_prob(n)
    return (model, guide), (x,), terms.logsumexp(-1)
